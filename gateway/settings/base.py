"""What every section of the configuration is made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


class SettingsError(Exception):
    """The configuration cannot be used; ``str()`` lists every mistake and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


Seconds = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


def _reaches_redis(url: SecretStr) -> SecretStr:
    if (given := url.get_secret_value()) and not given.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// (TLS) or unix://, as in redis://localhost:6379/0")
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_reaches_redis)]


def _is_url(url: str) -> str:
    if not re.match(r"https?://[^/\s]+", url):
        raise ValueError("must begin with http:// or https://")
    return url


HttpUrl = Annotated[str, AfterValidator(_is_url)]

Place = tuple[str | int, ...]  # of a value in the file: ("models", 0, "name")
