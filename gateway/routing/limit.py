"""How many calls a deployment takes at once, learned from its own first-token times (pure).

Until a deployment has shown signs of congestion there is no limit. From then on it falls while first tokens come late
and rises while they are in time and the room is used: a gradient limiter (Netflix concurrency-limits) on medians,
because single first-token times of language models say little. Each time is held against the calls that were under way
when that call began, not against those of now: a line that grows is longer than the times that tell of it, and a limit
set by its length would keep the line. And it falls only by what most of a whole window of calls say, as many as were
under way: the last eight answers of a burst are its slowest, however well the deployment is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from statistics import median_high
from typing import NamedTuple

TOLERANCE = 1.5  # times the usual first token: congested; below that waiting costs less than an idle provider
FLOOR = 4.0
FIRST_TOLERANCE, FIRST_PEAK = 2.0, 8  # for the first fall: a few stragglers on a quiet deployment are no congestion
HEADROOM = 1.3  # times the calls that a deployment works on: some must stand ready, and the estimate is one
QUICK_S = 0.1  # no provider is congested below it; differences there are those of this machine's own scheduling
SAMPLES = 8  # per decision, at least
PROMPT = 0.3  # quantile of a window: a line makes all of its calls late, chance and stalls only some
USED = 0.5  # share of the limit: what is late while fewer are under way is not late for that
MOST_FALL = 0.5  # share of the limit that is left at least
FADE_DOWN, FADE_UP, DRIFT = 0.15, 0.05, 0.01  # share of a new median in the usual one: better, as usual, congested
IN_VAIN = 4  # decisions in a row at the floor that were late all the same: then it is not our load that makes it slow


class Sample(NamedTuple):
    """How long a call took, or has been waiting, and how many were under way when it began, itself included."""

    seconds: float
    among: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Some samples in a row. ``room``: how many would be under way at once if each took no longer than usual, at the
    pace at which they were answered (Little's law)."""

    median: float
    prompt: float  # what the quicker ones took: most are later
    usual: float
    among: int
    room: float


@dataclass(slots=True)
class Level:
    """One kind of answer time: what it usually is, and the latest samples."""

    usual_s: float = 0.0  # 0 while nothing is known
    samples: list[Sample] = field(default_factory=list)

    def seen(self, window: int, waiting: Iterable[Sample], rest_s: float) -> Seen | None:
        """What the samples say, once there are as many as ``window``; ``waiting``: calls that have nothing to show yet,
        oldest first, which count where they are later than usual already. ``rest_s``: how long a call goes on after
        it."""
        late_s = TOLERANCE * self.usual_s
        late = list(takewhile(lambda call: 0 < late_s < call.seconds, waiting))
        if len(self.samples) + len(late) < window:
            return None
        told, self.samples = [Sample(max(call.seconds, QUICK_S), call.among) for call in self.samples], []
        ordered = sorted(sample.seconds for sample in (*told, *late))
        median, prompt = ordered[len(ordered) // 2], ordered[int(PROMPT * len(ordered))]
        usual = self.usual_s = self.usual_s or median
        rooms = [
            median_high(call.among * (usual + rest_s) / (call.seconds + rest_s) for call in calls)
            for calls in (told, late)
            if calls
        ]
        return Seen(median, prompt, usual, median_high(sample.among for sample in told), min(rooms))

    def learn(self, median: float, full: bool) -> None:
        """``full``: all the room is used, so that what is longer is our own line."""
        usual = median <= TOLERANCE * self.usual_s and not full
        share = FADE_DOWN if median <= self.usual_s else FADE_UP if usual else DRIFT
        self.usual_s += share * (median - self.usual_s)


@dataclass(slots=True)
class Limit:
    """The limit of one deployment. ``most``: the configured one, if any."""

    most: float = math.inf
    learned: float = math.inf
    levels: dict[str, Level] = field(default_factory=dict)  # by kind: a first token is no whole answer
    peak: int = 0  # calls under way at once since the last decision
    _in_vain: int = 0  # decisions in a row that found it congested with as few calls as there can be

    @property
    def value(self) -> float:
        return self.learned if self.learned < self.most else self.most

    def started(self, in_flight: int) -> None:
        if in_flight > self.peak:
            self.peak = in_flight

    def is_late(self, kind: str, age_s: float) -> bool:
        """Whether a call that has waited so long would count as late enough for a first limit."""
        level = self.levels.get(kind)
        return level is not None and 0 < FIRST_TOLERANCE * level.usual_s < max(age_s, QUICK_S)

    def measured(
        self, kind: str, sample: Sample, in_flight: int, waiting: Iterable[Sample], rest_s: float = 0.0
    ) -> None:
        """A first token (or a whole answer: its own ``kind``) came. ``waiting`` and ``rest_s`` as of ``Level.seen``."""
        level = self.levels.get(kind)
        if level is None:
            level = self.levels[kind] = Level()
        level.samples.append(sample)
        enough = SAMPLES // 2 if waiting else SAMPLES
        window = SAMPLES if self.learned == math.inf else max(SAMPLES, self.peak)
        if len(level.samples) >= enough and (seen := level.seen(window, waiting, rest_s)) is not None:
            self._decide(level, seen)
            self.peak = in_flight

    def _decide(self, level: Level, seen: Seen) -> None:
        full = self.peak >= 0.8 * self.learned
        if seen.prompt <= TOLERANCE * seen.usual:
            self._in_vain = 0
            if full:
                self.learned += math.sqrt(self.learned)
            level.learn(seen.median, full)
            return
        level.learn(seen.median, full)
        if self.learned == math.inf and (seen.median <= FIRST_TOLERANCE * seen.usual or self.peak < FIRST_PEAK):
            return
        if self.learned == FLOOR and seen.among <= FLOOR:
            self._in_vain += 1
            if self._in_vain > IN_VAIN:
                level.usual_s, self.learned, self._in_vain = seen.median, math.inf, 0
                return
        if self.learned == math.inf:
            self.learned = max(FLOOR, HEADROOM * seen.room)
        elif seen.among >= USED * self.learned:
            self.learned = max(FLOOR, min(self.learned, max(HEADROOM * seen.room, MOST_FALL * self.learned)))
