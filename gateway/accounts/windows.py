"""How much was used in a stretch of time (pure): sliding minutes, and days and months of the calendar (UTC)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

MINUTE_S = 60.0


@dataclass(slots=True)
class Count:
    """One sum. ``fresh`` is what other gateways have not been told of; without others all of it is."""

    shared: float = 0.0  # of all gateways, as they last told
    fresh: float = 0.0

    @property
    def value(self) -> float:
        return self.shared + self.fresh

    def told(self, delta: float, total: float) -> None:
        """``delta`` of ours has arrived where ``total`` is now known."""
        self.fresh -= delta
        self.shared = total


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, wall seconds."""

    begins: float
    ends: float


def span_of(period: str, now: float) -> Span:
    """The minute, day or month that ``now`` lies in."""
    if period == "minute":
        begins = now - now % MINUTE_S
        return Span(begins, begins + MINUTE_S)
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return Span(day.timestamp(), (day + timedelta(days=1)).timestamp())
    first = day.replace(day=1)
    return Span(first.timestamp(), (first + timedelta(days=32)).replace(day=1).timestamp())


@dataclass(slots=True)
class Meter:
    """Use per span; the current one and the one before are kept.

    A minute slides: what the last one holds counts for as long as it lies within the latest sixty seconds, taken as
    spread evenly. Days and months begin at nothing.
    """

    period: str  # minute, day or month
    counts: dict[float, Count] = field(default_factory=dict)  # by the second the span begins

    def count(self, now: float) -> Count:
        span = span_of(self.period, now)
        found = self.counts.get(span.begins)
        if found is None:
            kept = span.begins - MINUTE_S if self.period == "minute" else span.begins
            self.counts = {begins: count for begins, count in self.counts.items() if begins >= kept}
            found = self.counts[span.begins] = Count()
        return found

    def used(self, now: float) -> float:
        current = self.count(now).value
        if self.period != "minute":
            return current
        span = span_of("minute", now)
        before = self.counts.get(span.begins - MINUTE_S)
        return current + (before.value * (span.ends - now) / MINUTE_S if before is not None else 0.0)

    def free_after_s(self, now: float, most: float) -> float:
        """Seconds until less than ``most`` is used, if nothing is added."""
        span = span_of(self.period, now)
        if self.used(now) < most:
            return 0.0
        current = self.count(now).value
        if self.period != "minute":
            return span.ends - now
        if current < most:  # enough of the last minute has to slide out
            before = self.counts[span.begins - MINUTE_S].value
            return span.ends - MINUTE_S * (most - current) / before - now
        return span.ends + MINUTE_S * (1 - most / current) - now

    def empty_after_s(self, now: float) -> float:
        """Seconds until nothing counts any more, if nothing is added."""
        span = span_of(self.period, now)
        if not self.used(now):
            return 0.0
        slides = self.period == "minute" and self.count(now).value > 0
        return span.ends - now + (MINUTE_S if slides else 0.0)
