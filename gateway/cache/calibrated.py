"""The calibrated rule: vetoes, then a probability that every scope's own answers correct, then a bar for the error.

No fixed similarity is right: the one that is wrong once in 400 hits on one traffic is wrong every second time on the
next, and nobody knows beforehand which traffic they have. So a scope starts from what many sources of questions had in
common, with its doubt (``Calibration``), and serves next to nothing; each miss then says whether the nearest kept
answer would have been right (``belief``). A calibration belongs to one embedder: similarity means something else in
each. Without one the strict preset rules.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
import orjson

from gateway.cache.belief import Matrix, Vector
from gateway.cache.bounds import clopper_pearson_upper, wilson_lower
from gateway.cache.decision import Decision, Rule, StrictRule, plain
from gateway.cache.features import CANDIDATES, EARNED, NAMES, look, row_of, swapped
from gateway.cache.learned import Learned
from gateway.chat import CacheKey, Neighbor, Scope
from gateway.clock import WallClock

MAX_SCOPES = 2_000  # up to 70 kB each; the longest unused is forgotten and starts again from the calibration
ANSWER_NOISE = 0.0025  # share of answers that contradict an earlier one although the question is the same
MOST_NOISE = 0.05  # that is believed, whatever was seen
FEWEST_REPEATS = 30
RECENT_REPEATS = 1_000.0
_EARNED = [NAMES.index(name) for name in EARNED]
AUDITED = 0.03  # share of hits that are answered afresh instead, and compared


class BadCalibration(ValueError):
    """A calibration file that cannot be used."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where a scope's belief starts: the mean of what sources of questions taught, and how far apart they lie."""

    embedder: str
    mean: Vector
    covariance: Matrix
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def dump(self) -> bytes:
        fields = {
            "embedder": self.embedder, "features": list(NAMES), "mean": self.mean.round(4).tolist(),
            "covariance": self.covariance.round(4).tolist(), "provenance": dict(self.provenance),
        }  # fmt: skip
        return orjson.dumps(fields, option=orjson.OPT_INDENT_2)

    @classmethod
    def load(cls, data: bytes) -> Calibration:
        """Raises BadCalibration."""
        try:
            fields = orjson.loads(data)
            names, embedder = fields["features"], str(fields["embedder"])
            mean = np.asarray(fields["mean"], np.float64)
            covariance = np.asarray(fields["covariance"], np.float64)
        except (ValueError, TypeError, KeyError) as error:
            raise BadCalibration("not a calibration file; write one with: ocho cache calibrate FILE") from error
        size = len(NAMES)
        if names != list(NAMES) or mean.shape != (size,) or covariance.shape != (size, size):
            raise BadCalibration("this calibration was made by another version; run ocho cache calibrate again")
        return cls(embedder, mean, covariance, fields.get("provenance", {}))


@dataclass(frozen=True, slots=True)
class Standing:
    """How the rule stands over all scopes in memory, for metrics."""

    learning: int  # scopes that serve nothing by score yet
    serving: int
    off: int  # switched off: too many audited hits were wrong
    audited: int  # hits that were compared with a fresh answer, since the start
    audited_wrong: int

    @property
    def upper95(self) -> float:
        """Upper bound of the share of hits that are wrong; 1 while nothing is known."""
        return clopper_pearson_upper(self.audited_wrong, self.audited)


class AdaptiveRule:
    """One belief and one bar per scope. Not a pure function: ``learn`` changes what ``decide`` says.

    Used from one event loop; nothing here waits, so no two calls interleave.
    """

    def __init__(
        self,
        calibration: Calibration,
        max_wrong: float = 0.01,
        *,
        answer_noise: float = ANSWER_NOISE,
        audited: float = AUDITED,
        max_scopes: int = MAX_SCOPES,
        on_change: Callable[[Standing], None] = lambda standing: None,
        chance: Callable[[], float] = random.random,
        wall_clock: WallClock = time.time,
    ) -> None:
        """``on_change`` hears when a scope begins or ends to serve, and of every audited hit."""
        self.calibration = calibration
        self.max_wrong = max_wrong
        self.candidates = CANDIDATES
        self._told_noise = answer_noise
        self._repeats = self._contradicted = 0.0
        self._audited_share = audited
        self._max_scopes = max_scopes
        self._chance = chance
        self._now = wall_clock
        self._scopes: OrderedDict[Scope, Learned] = OrderedDict()
        self._changed: dict[Scope, None] = {}  # since it was last asked for, in order
        self._states: Counter[str] = Counter()
        self._audited = self._audited_wrong = 0
        self._tell = on_change

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        if not neighbors:
            return Decision(None, "nothing near")
        if plain(neighbors[0].question.text) == plain(asked):
            return Decision(neighbors[0], "", 1.0)
        found = look(asked, neighbors)
        if found.best is None or found.row is None:
            return Decision(None, found.refused)
        scope = self._of(found.best.question.key.scope)
        score = scope.see(found.row)
        right = 1 - scope.bar.doubt(score)
        height = self._note(scope)
        if not scope.bar.broken and scope.passes(found.row, score, found.same_words, height):
            if self._chance() < self._audited_share:
                return Decision(None, "audit", right)
            return Decision(found.best, "", right)
        return Decision(None, found.refused or ("one word" if swapped(found.row) else "uncertain"), right)

    def worth_asking(
        self, asked: str, neighbors: Sequence[Neighbor], keys: Sequence[CacheKey]
    ) -> Sequence[CacheKey] | None:
        chances = {key: self.chance(asked, neighbors, key) for key in keys}
        for key, chance in chances.items():
            self._of(key.scope).asking.see(chance)
        return [key for key, chance in chances.items() if chance >= self._of(key.scope).asking.floor()]

    def chance(self, asked: str, neighbors: Sequence[Neighbor], key: CacheKey) -> float:
        """Of the answer ``key``, one of the neighbours', to be right."""
        row = row_of(asked, neighbors, key)
        row[_EARNED] = 0.0  # a judge looks at that himself
        return self._of(key.scope).belief.chance(row)

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> CacheKey | None:
        """A miss was answered: ``same`` tells for kept answers whether the fresh one states the same facts."""
        found = look(asked, neighbors)
        if found.best is None or found.row is None or found.best.question.key not in same:
            return None
        right = same[found.best.question.key]
        place = found.best.question.key.scope
        scope = self._of(place)
        score = scope.belief.cautious(found.row)
        hit = scope.passes(found.row, score, found.same_words, scope.bar.height())
        audited = hit and not scope.bar.broken
        if audited:
            self._audited += 1
            self._audited_wrong += not right
        scope.learn(self._now(), found.row, right, hit, self.answer_noise)
        self._changed[place] = None
        self._note(scope)
        if not audited:
            return None
        self._tell(self.standing())
        return found.best.question.key

    def repeated(self, agreed: bool) -> None:
        """The very same question was answered once more: ``agreed`` tells whether with the same facts."""
        keep = 1 - 1 / RECENT_REPEATS
        self._repeats = self._repeats * keep + 1
        self._contradicted = self._contradicted * keep + (not agreed)

    @property
    def answer_noise(self) -> float:
        """Share of answers that contradict one to the very same question: what was told, or was seen beyond doubt."""
        seen = wilson_lower(self._contradicted, self._repeats) if self._repeats >= FEWEST_REPEATS else 0.0
        return max(self._told_noise, min(seen, MOST_NOISE))

    def knows(self, scope: Scope) -> bool:
        return scope in self._scopes

    def changed(self) -> list[Scope]:
        """Scopes that learned something since the last call."""
        changed, self._changed = list(self._changed), {}
        return changed

    def dump(self, scope: Scope) -> bytes:
        """What was learned in a scope; empty where nothing was."""
        learned = self._scopes.get(scope)
        return learned.dump() if learned is not None else b""

    def take(self, scope: Scope, data: bytes) -> None:
        """Add what this scope learned before, or elsewhere. Damaged data adds nothing."""
        learned = self._of(scope)
        learned.take(data, self.answer_noise)
        self._note(learned)

    def standing(self) -> Standing:
        states = self._states
        return Standing(states["learning"], states["serving"], states["off"], self._audited, self._audited_wrong)

    def _note(self, scope: Learned) -> float:
        """The scope's bar, after its state was brought up to date."""
        height = scope.bar.height()
        state = "off" if scope.bar.broken else "learning" if math.isinf(height) else "serving"
        if state != scope.state:
            self._states[scope.state] -= 1
            self._states[state] += 1
            scope.state = state
            self._tell(self.standing())
        return height

    def _of(self, place: Scope) -> Learned:
        learned = self._scopes.get(place)
        if learned is None:
            start = self.calibration
            learned = self._scopes[place] = Learned(start.mean, start.covariance, self.max_wrong, self.answer_noise)
            if len(self._scopes) > self._max_scopes:
                old, gone = self._scopes.popitem(last=False)
                self._states[gone.state] -= 1
                self._changed.pop(old, None)
        self._scopes.move_to_end(place)
        return learned


def shipped(embedder: str) -> Calibration | None:
    """The calibration that comes with the package for an embedder model."""
    file = files("gateway.cache") / "calibration" / f"{embedder}.json"
    return None if "/" in embedder or not file.is_file() else Calibration.load(file.read_bytes())


def rule_for(
    embedder: str,
    max_wrong: float = 0.01,
    *,
    answer_noise: float = ANSWER_NOISE,
    data: bytes | None = None,
    on_change: Callable[[Standing], None] = lambda standing: None,
) -> Rule:
    """The rule for an embedder model: from calibration ``data``, else the shipped one, else the strict preset.

    ``max_wrong`` is the share of hits that may be wrong. Raises BadCalibration where ``data`` is not for ``embedder``.
    """
    calibration = Calibration.load(data) if data is not None else shipped(embedder)
    if calibration is None:
        return StrictRule()
    if calibration.embedder != embedder:
        raise BadCalibration(f"this calibration is for {calibration.embedder!r}, the embedder is {embedder!r}")
    return AdaptiveRule(calibration, max_wrong, answer_noise=answer_noise, on_change=on_change)
