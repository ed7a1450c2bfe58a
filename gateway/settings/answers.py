"""``answers``: what people reviewed, and what is put up for them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.settings.base import Name, Seconds, Section


class VerifySettings(Section):
    """Answers that are given often are asked for again in the background; who disagrees is put up for review."""

    model: Name  # asked for the samples; a fast one
    by: Literal["samples", "judge"] = "samples"  # judge: one token, whether the documents state the answer
    samples: int = Field(3, ge=1, le=10)
    after_hits: int = Field(5, ge=1)  # of one kept answer, before it is verified; once for each version of it
    max_tokens: int = Field(300, ge=16, le=4096)  # of a sample
    max_spend: float = Field(1.0, gt=0)  # in a day, in the currency of the model's price; without one: million tokens
    timeout_s: Seconds = 60.0


class AnswersSettings(Section):
    on_change: Literal["note", "withdraw"] = "withdraw"  # a reviewed answer whose documents changed since
    verify: VerifySettings | None = None
