"""What the provider remembers of each call: for tests and benches, never sent in an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """How an answer departs from the truth of its passages."""

    NONE = "none"
    WRONG_FACT = "wrong_fact"  # a number (or a word such as "required") was changed
    WRONG_PASSAGE = "wrong_passage"  # said what the second best passage says
    REFUSAL = "refusal"  # "not in the documents", though it is
    UNSUPPORTED = "unsupported"  # a made-up claim was added


@dataclass(slots=True)
class Call:
    """One request as the provider saw it. Instants are seconds on ``time.monotonic``."""

    path: str
    model: str
    body: Mapping[str, Any]
    started: float
    served: float | None = None  # when work on it began; later than ``started`` if it stood in line
    ended: float | None = None  # None: still being answered
    status: int | None = None  # None: not answered (yet), or the caller hung up before the headers
    cancelled: bool = False  # the caller hung up before the end
    prompt_tokens: int = 0
    output_tokens: int = 0  # sent so far, all choices together
    fault: Fault = Fault.NONE  # of the first choice
    source: str = ""  # "doc3": the passage the first choice quotes; "" when it quotes none
    truth: str = ""  # the statement a faultless answer to this call rests on; "" when the passages hold none

    def summary(self) -> dict[str, Any]:
        """Everything but the body, for `GET /bench/calls`."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "body"}


@dataclass(slots=True)
class Totals:
    """Counts since start, also of calls no longer kept."""

    calls: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    statuses: dict[str, int] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        """Count a call that has ended."""
        self.cancelled += call.cancelled
        self.prompt_tokens += call.prompt_tokens
        self.output_tokens += call.output_tokens
        status = str(call.status or "none")
        self.statuses[status] = self.statuses.get(status, 0) + 1
