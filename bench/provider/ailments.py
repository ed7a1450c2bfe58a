"""What may be the matter with one model of the stand-in, set while it runs (`POST /bench/ailments`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.provider.profiles import RATE_LIMITED_AFTER_S, Failure, Fate
from bench.provider.wire import ApiError


@dataclass(frozen=True, slots=True)
class Ailment:
    """``slow``: times are multiplied by it. ``refuses``: every call is a 429. ``hangs``: answers stop half-way.
    ``breaks``: there the connection is lost."""

    slow: float = 1.0
    refuses: bool = False
    hangs: bool = False
    breaks: bool = False

    @property
    def halves(self) -> bool:
        """Answers do not come to their end."""
        return self.hangs or self.breaks


HEALTHY = Ailment()


def read_ailments(body: Mapping[str, Any]) -> dict[str, Ailment]:
    """``{model: {"slow": 8}}``; models not named are well. Raises ApiError."""
    try:
        return {model: Ailment(**given) for model, given in body.items()}
    except TypeError as error:
        raise ApiError(400, f"Expected {{model: {{slow, refuses, hangs, breaks}}}}: {error}") from error


def ailing(fate: Fate, ailment: Ailment) -> Fate:
    """``fate`` as it becomes with ``ailment``."""
    if ailment.refuses:
        return replace(fate, failure=Failure.RATE_LIMITED, ttft_s=RATE_LIMITED_AFTER_S)
    if ailment.slow == 1.0:
        return fate
    return replace(fate, ttft_s=fate.ttft_s * ailment.slow, token_s=fate.token_s * ailment.slow)
