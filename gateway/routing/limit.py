"""How many calls a deployment takes at once, learned from its own first-token times (pure).

Until a deployment has shown signs of congestion there is no limit. The first sign sets it to what was under way; from
then on it falls while first tokens come late and rises while they are in time and the room is used: a gradient
limiter (Netflix concurrency-limits) on medians, because single first-token times of language models say little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

TOLERANCE = 1.5  # times the usual first token: congested; below that waiting costs less than an idle provider
FLOOR = 4.0
FIRST_TOLERANCE, FIRST_PEAK = 2.0, 8  # for the first fall: a few stragglers on a quiet deployment are no congestion
QUICK_S = 0.1  # no provider is congested below it; differences there are those of this machine's own scheduling
SAMPLES = 8  # per decision: the median of so many log-normal times (sigma 0.5) is below 1.5 of the usual in 96 of 100
STEEPEST = 0.5  # at most so much is kept of the limit in one decision
FADE_DOWN, FADE_UP, DRIFT = 0.3, 0.05, 0.01  # share of a new median in the usual one: better, as usual, congested
IN_VAIN = 4  # falls in a row that made nothing faster: then it is not our load that makes it slow


@dataclass(slots=True)
class Level:
    """One kind of answer time: what it usually is, and the latest samples."""

    usual_s: float = 0.0  # 0 while nothing is known
    samples: list[float] = field(default_factory=list)

    def judged(self, waiting_s: Iterable[float]) -> tuple[float, float] | None:
        """(median, usual) once there are samples enough; ``waiting_s``: ages of calls that have nothing to show yet,
        which count where they are later than usual already."""
        late = [age for age in waiting_s if self.usual_s and age > TOLERANCE * self.usual_s]
        if len(self.samples) + len(late) < SAMPLES:
            return None
        ordered = sorted([*self.samples, *late])
        self.samples.clear()
        median = ordered[len(ordered) // 2]
        if not self.usual_s:
            self.usual_s = median
        return median, self.usual_s

    def learn(self, median: float) -> None:
        share = FADE_DOWN if median <= self.usual_s else FADE_UP if median <= TOLERANCE * self.usual_s else DRIFT
        self.usual_s += share * (median - self.usual_s)


@dataclass(slots=True)
class Limit:
    """The limit of one deployment. ``most``: the configured one, if any."""

    most: float = math.inf
    learned: float = math.inf
    levels: dict[str, Level] = field(default_factory=dict)  # by kind: a first token is no whole answer
    peak: int = 0  # calls under way at once since the last decision
    _falls: int = 0
    _before: float = 0.0  # median when the falls began

    @property
    def value(self) -> float:
        return self.learned if self.learned < self.most else self.most

    def started(self, in_flight: int) -> None:
        if in_flight > self.peak:
            self.peak = in_flight

    def measured(self, kind: str, seconds: float, in_flight: int, waiting_s: Iterable[float]) -> None:
        """A first token (or a whole answer: its own ``kind``) came after ``seconds``."""
        level = self.levels.get(kind)
        if level is None:
            level = self.levels[kind] = Level()
        level.samples.append(max(seconds, QUICK_S))
        if len(level.samples) >= SAMPLES // 2 and (judged := level.judged(waiting_s)) is not None:
            self._decide(level, *judged, in_flight)
            self.peak = in_flight

    def _decide(self, level: Level, median: float, usual: float, in_flight: int) -> None:
        if median > TOLERANCE * usual:
            level.learn(median)
            if in_flight > self.learned:
                return  # the last fall has yet to take effect
            if self.learned == math.inf and (median <= FIRST_TOLERANCE * usual or self.peak < FIRST_PEAK):
                return
            self._falls = self._falls + 1 if median > 0.9 * self._before else 1
            if self._falls == 1:
                self._before = median
            if self._falls > IN_VAIN:
                level.usual_s, self.learned, self._falls, self._before = median, math.inf, 0, 0.0
                return
            self._fall_to(max(STEEPEST, TOLERANCE * usual / median) * min(self.learned, float(self.peak)))
        else:
            self._falls, self._before = 0, 0.0
            if self.peak >= 0.8 * self.learned:
                self.learned += max(1.0, math.sqrt(self.learned) / 4)
            level.learn(median)

    def _fall_to(self, value: float) -> None:
        self.learned = max(FLOOR, value)
