"""What is known of each deployment: how fast it is now, whether it works, and how much it takes at once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from gateway.chat import Deployment
from gateway.clock import Clock
from gateway.routing.limit import SAMPLES, Limit, Sample

HALF_LIFE_S = 10.0  # of the first-token average: old news about a provider's speed is no news
PACE_SHARE = 0.2  # of a new measurement in the average pace: the last five or so answers count
REST_SHARE = 0.1  # of a call in the average of how long calls go on
USUAL_FIRST_TOKEN_S = 1.0  # until a deployment has answered once
USUAL_TOKENS_PER_S = 25.0
RECENT = 100  # first-token times kept
FEWEST_RECENT = 20  # below that a high quantile is a guess
FAILURES_TO_SET_ASIDE = 3  # in a row
OUTCOMES = 20  # latest calls, of which half may fail before the deployment is set aside
SET_ASIDE_S, LONGEST_ASIDE_S = 10.0, 60.0  # doubled by each probe that fails
PROBE_S = 30.0  # a probe that has not ended by then keeps nobody else from probing
WORD_TESTED_S = 0.25  # how often a provider that asked to be left alone is tried, where there is nowhere else to go
FORGIVEN_S = 10.0  # after a failure, until a deployment is as good as the others again
FIRST_TOKEN = "first token"  # kind of answer time; others are whole answers, by operation


@dataclass(slots=True)
class Pace:
    """How fast a deployment usually is. Averages: for planning, where ``Health.first_token_s`` is for choosing."""

    first_token_s: float = USUAL_FIRST_TOKEN_S
    token_s: float = 1 / USUAL_TOKENS_PER_S  # of times, not of speeds: an answer that came at once would spoil those
    whole_s: float = 0.0  # of a call from start to end; 0 while nothing is known
    known: bool = False

    def measured(self, first_token_s: float, tokens: int, decode_s: float) -> None:
        """One answer of ``tokens`` tokens, the first after ``first_token_s``, the rest within ``decode_s``."""
        share = PACE_SHARE if self.known else 1.0
        self.known = True
        self.first_token_s += share * (first_token_s - self.first_token_s)
        if tokens > 3 and decode_s > 0:
            self.token_s += share * (decode_s / tokens - self.token_s)

    @property
    def tokens_per_s(self) -> float:
        return 1 / self.token_s

    def ended(self, seconds: float) -> None:
        """One call that came to its end."""
        self.whole_s = seconds if not self.whole_s else self.whole_s + PACE_SHARE / 2 * (seconds - self.whole_s)


@dataclass(slots=True)
class Health:
    """Live state of one deployment."""

    deployment: Deployment
    first_token_s: float = 0.0  # peak-sensitive moving average; 0 while nothing is known
    in_flight: int = 0
    failures: int = 0  # in a row
    failed_at: float = -math.inf
    aside_until: float = 0.0  # instant on the clock
    told_until: float = 0.0  # the same, where the provider itself named it
    told_at: float = -math.inf  # when it named it
    tested_at: float = -math.inf  # when somebody last went against its word, or it gave it
    aside_s: float = SET_ASIDE_S  # how long the next time
    probing_until: float = 0.0
    heard: bool = False  # ``told_until`` is known from another gateway
    failing_elsewhere_until: float = 0.0  # calls of another gateway fail
    measured_at: float = 0.0
    answered_at: float = -math.inf  # when the latest first token came
    pace: Pace = field(default_factory=Pace)
    limit: Limit = field(default_factory=Limit)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # first-token seconds, latest last
    outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=OUTCOMES))  # True: succeeded
    # Calls with nothing to show yet: when they began, and how many were under way then.
    waiting: dict[int, tuple[float, int]] = field(default_factory=dict)
    talking: dict[int, float] = field(default_factory=dict)  # calls under way that have: since when
    rest_s: float = 0.0  # how long calls go on after their first token, on average
    _last: int = 0

    def started(self, now: float) -> int:
        """A call begins. The number it is known by to ``answered`` and ``ended``."""
        self.in_flight += 1
        if self.in_flight > self.limit.peak:
            self.limit.started(self.in_flight)
        if self.failures and self.state(now) == 1:
            self.probing_until = now + PROBE_S
        self._last += 1
        self.waiting[self._last] = now, self.in_flight
        return self._last

    def shows_nothing(self, call: int) -> None:
        """The call's answer comes as a whole, so its age says nothing."""
        self.waiting.pop(call, None)

    def answered(self, call: int, now: float) -> None:
        """The first content token of a call came."""
        if call in self.waiting:
            began, among = self.waiting.pop(call)
            if began > self.told_at:  # it took a call although it had said that it would not
                self.told_until = self.aside_until = min(self.told_until, now)
            self._talks()
            self._fade_in(now - began, now)
            self.answered_at = now
            self.recent.append(now - began)
            waiting = (Sample(now - at, among) for at, among in self.waiting.values())
            sample = Sample(now - began, among)
            self.limit.measured(FIRST_TOKEN, sample, self.in_flight, waiting, self.rest_s)
            self.talking[call] = now

    def replied(self, operation: str, seconds: float, now: float) -> None:
        """A whole answer came at once."""
        if self.failures:
            self._talks()
        if not self.recent:  # else it is first tokens that deployments are compared by
            self._fade_in(seconds, now)
        self.limit.measured(operation, Sample(seconds, self.in_flight), self.in_flight, ())

    def ended(self, call: int, now: float) -> None:
        self.in_flight -= 1
        if call in self.waiting:  # hung up on before it said anything: its first token would have been later than that
            began, _ = self.waiting.pop(call)
            if now - began > self.first_token_s:
                self._fade_in(now - began, now)
            if began >= self.tested_at:
                self.tested_at = -math.inf  # it was to test the provider's word: the next one does
        if (since := self.talking.pop(call, None)) is not None:
            self.rest_s += REST_SHARE * (now - since - self.rest_s)

    def succeeded(self) -> None:
        """A call came to a good end."""
        self.outcomes.append(True)
        self.failures = 0
        self.probing_until = 0.0
        self.aside_until = self.told_until
        self.aside_s = SET_ASIDE_S

    def failed(self, now: float, retry_after_s: float | None = None) -> None:
        """A call failed; ``retry_after_s``: when the provider wants to be asked again."""
        half_open = self.state(now) == 1
        self.outcomes.append(False)
        self.failures += 1
        self.failed_at = now
        self.heard = False
        self.probing_until = 0.0
        if retry_after_s is not None:
            self.leave_alone(now + retry_after_s, now)
        elif self.failures >= FAILURES_TO_SET_ASIDE or self._half_fail():
            self.failures = max(self.failures, FAILURES_TO_SET_ASIDE)  # it takes a probe to come back
            self.aside_s = min(2 * self.aside_s, LONGEST_ASIDE_S) if half_open else self.aside_s
            self.aside_until = max(self.aside_until, now + self.aside_s)
            self.outcomes.clear()

    def in_line(self, call: int) -> bool:
        """Others were answered while the call had nothing to show: it stands in the provider's own line, or stalls.
        That it is given up says nothing against the deployment."""
        return call in self.waiting and self.waiting[call][0] < self.answered_at

    def leave_alone(self, until: float, now: float) -> None:
        """The provider takes no more before ``until``, by its own word (believed for ``LONGEST_ASIDE_S``)."""
        until = min(until, now + LONGEST_ASIDE_S)
        self.told_at = self.tested_at = now
        self.told_until = max(self.told_until, until)
        self.aside_until = max(self.aside_until, until)

    def hear_told(self, until: float | None, now: float) -> None:
        """Another gateway was told to leave this alone until then; None: none is any more."""
        if until is not None and until > self.told_until + 0.1:
            self.leave_alone(until, now)
            self.heard = True
        elif until is None and self.heard:
            self.heard = False
            self.told_until = self.aside_until = min(self.told_until, now)

    def tested(self, now: float) -> bool:
        """Whether one call may see if the provider still means its word; True at most every ``WORD_TESTED_S``."""
        if now - self.tested_at < WORD_TESTED_S:
            return False
        self.tested_at = now
        return True

    @property
    def under_test(self) -> bool:
        """A call that goes against the provider's word has nothing to show yet."""
        return bool(self.waiting) and next(reversed(self.waiting.values()))[0] >= self.tested_at

    def state(self, now: float) -> int:
        """0 healthy, 1 worth one probe, 2 set aside."""
        if self.aside_until > now:
            return 2
        return 1 if self.failures >= FAILURES_TO_SET_ASIDE else 0

    def has_room(self, now: float) -> bool:
        """Whether one more call may start: under the limit, not set aside, and no second one beside a probe."""
        if self.aside_until > now:
            return False
        if self.failures >= FAILURES_TO_SET_ASIDE:
            return self.probing_until <= now
        if self.in_flight >= self.limit.learned or self.in_flight >= self.limit.most:
            return False
        return len(self.waiting) < SAMPLES or not self._line_grows(now)

    def roomy(self, now: float) -> bool:
        """Whether half of its room is left."""
        return self.has_room(now) and 2 * self.in_flight <= self.limit.value

    def expected_s(self, now: float) -> float:
        """Seconds to the first token that a call should reckon with now: what was measured, fading while nobody tries
        it, and no less than the oldest call is waiting already."""
        if self.waiting:
            return max(self.first_token_s, now - next(iter(self.waiting.values()))[0])
        return self.first_token_s * math.exp((self.measured_at - now) / HALF_LIFE_S)

    def doubtful(self, now: float) -> bool:
        return (self.failures > 0 and now - self.failed_at < FORGIVEN_S) or now < self.failing_elsewhere_until

    def first_token_quantile(self, q: float) -> float | None:
        """Seconds; None while too little is known."""
        if len(self.recent) < FEWEST_RECENT:
            return None
        return sorted(self.recent)[min(len(self.recent) - 1, int(q * len(self.recent)))]

    def _talks(self) -> None:
        """A probe is answered: others may come, and one failure sends them away again."""
        if self.failures >= FAILURES_TO_SET_ASIDE:
            self.failures = FAILURES_TO_SET_ASIDE - 1
            self.probing_until = 0.0

    def _fade_in(self, seconds: float, now: float) -> None:
        """A peak counts at once, a better time fades in (Finagle's peak EWMA)."""
        if seconds >= self.first_token_s:
            self.first_token_s = seconds
        else:
            kept = math.exp(-(now - self.measured_at) / HALF_LIFE_S)
            self.first_token_s = self.first_token_s * kept + seconds * (1 - kept)
        self.measured_at = now

    def _line_grows(self, now: float) -> bool:
        """Before a limit is known: as many calls are late as it takes to find one, and no more are needed for that."""
        if self.limit.learned < math.inf:
            return False
        nth = next(islice(self.waiting.values(), SAMPLES - 1, None))
        return self.limit.is_late(FIRST_TOKEN, now - nth[0])

    def _half_fail(self) -> bool:
        return len(self.outcomes) == OUTCOMES and 2 * sum(self.outcomes) <= OUTCOMES


class Deployments:
    """Health of every configured deployment, by name."""

    def __init__(self, deployments: tuple[Deployment, ...], clock: Clock) -> None:
        self._health = {d.name: Health(d) for d in deployments}
        self.clock = clock

    def __getitem__(self, name: str) -> Health:
        return self._health[name]

    def __iter__(self) -> Iterator[Health]:
        return iter(self._health.values())
