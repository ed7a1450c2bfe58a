"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class SettingsError(Exception):
    """The configuration cannot be used; ``str()`` lists every mistake and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


Seconds = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


Place = tuple[str | int, ...]  # of a value in the file: ("models", 0, "name")
