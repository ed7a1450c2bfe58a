"""What a scope's own answers have taught about when two of its questions are one. Bounded, no lock needed, no I/O.

A Bayesian logistic regression whose prior comes from calibration on many sources of questions. Every miss is a label:
its fresh answer agreed with the nearest kept one or did not. Every few labels the belief is fitted to the recent ones
anew: a few Newton steps, under a millisecond. One step of a Kalman filter per label learned more slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gateway.cache.bounds import wilson_lower
from gateway.cache.features import Row

Vector = NDArray[np.float64]  # (features,)
Matrix = NDArray[np.float64]  # (features, features)

CAUTION = 0.5  # standard deviations of the log-odds that a score stays below their mean
LABEL_NOISE = 0.005  # least share of labels taken to be wrong: no single one may turn a belief over
STEPS = 12  # of Newton, each at most 1 long

BIN = 0.25  # log-odds
BINS = 40  # from 0 to 10
RECENT_LOOKUPS = 400.0
RECENT_LABELS = 500.0
MOST_DOUBTFUL = 0.04  # chance to be wrong that no single hit may have, however sure the others are: with 0.03 hits are
# lost for few errors less, with 0.06 single orders of close questions ended at 1.9 % wrong
NEAR_BAR = 0.1  # chance to be wrong below which labels correct the belief
SURE = 0.01  # … and below which they tell what no score can: indistinguishable questions, careless labels
AIM = 0.65  # of the wrong hits allowed: what is served in another's place is served so again until somebody notices, so
# hits are wrong more often than the misses from which it is learned; with 0.9 single orders ended at 1.9 %, with 0.7 at
# 1.5 %
PRIOR_ERRORS = 3.0  # expected errors after which experience weighs as much as the belief
PRIOR_SCALE = 0.5  # of the doubt, before experience: on every visible source the cautious score doubted too much
PRIOR_FLOOR = (0.003, 100.0)  # share of wrong among the surest, and the labels that this guess weighs: with 300, ten
# thousand questions ended above the limit
LEAST_SCALE = 0.15  # experience makes no doubt smaller than this share of it
BROKEN = 3  # wrong ones among recent audited hits before a scope can be switched off


class Belief:
    """Weights of the features, and how far they may be off."""

    def __init__(self, mean: Vector, covariance: Matrix) -> None:
        """Where the scope starts."""
        self._start = mean
        self._sureness = np.linalg.inv(covariance)
        self.mean = mean
        self.covariance = covariance

    def cautious(self, row: Row) -> float:
        """Log-odds to be right, lowered by how little is known yet."""
        return float(self.mean @ row - CAUTION * math.sqrt(max(float(row @ self.covariance @ row), 0.0)))

    def chance(self, row: Row) -> float:
        """To be right, as far as is known: what the bar makes of it holds near the bar alone."""
        return _sigmoid(float(self.mean @ row))

    def fit(self, rows: Matrix, right: Vector, noise: float = LABEL_NOISE) -> None:
        """Believe the labels, and the start where they say nothing. ``noise``: share of them that is wrong."""
        mean, trust = self.mean, 1 - 2 * noise
        for _ in range(STEPS):
            chance = 1 / (1 + np.exp(-np.clip(rows @ mean, -30, 30)))
            seen = noise + trust * chance
            slope = trust * chance * (1 - chance)
            pull = rows.T @ (slope * (right - seen) / (seen * (1 - seen))) - self._sureness @ (mean - self._start)
            sureness = (rows * (slope * slope / (seen * (1 - seen)))[:, None]).T @ rows + self._sureness
            step = np.linalg.solve(sureness, pull)
            length = float(np.abs(step).max())
            mean = mean + step / max(1.0, length)
            if length < 1e-3:
                break
        self.mean, self.covariance = mean, np.linalg.inv(sureness)


@dataclass(slots=True)
class Bar:
    """The score that a hit must reach: the lowest at which hits, taken together, keep to ``max_wrong``.

    The belief's chances are corrected by experience twice: ``scale`` by labels near the bar, ``floor`` by labels of
    which the belief was sure.
    """

    max_wrong: float
    answer_noise: float = 0.0  # share of answers that contradict an earlier one although the question is the same
    seen: Vector = field(default_factory=lambda: np.zeros(BINS + 1))  # recent lookups by score, below 0 first
    wrong: float = 0.0
    expected: float = 0.0
    near: float = 0.0
    sure_wrong: float = 0.0
    sure: float = 0.0
    audited: float = 0.0  # recent labels of what would have been, or was, a hit
    audited_wrong: float = 0.0

    def see(self, score: float) -> None:
        self.seen *= 1 - 1 / RECENT_LOOKUPS
        self.seen[min(max(int(score // BIN) + 1, 0), BINS)] += 1

    def learn(self, score: float, right: bool, *, hit: bool) -> None:
        """A label for what scored ``score``; ``hit``: it reached the bar."""
        keep, error, doubt = 1 - 1 / RECENT_LABELS, float(not right), _sigmoid(-score)
        if hit:
            self.audited = self.audited * keep + 1
            self.audited_wrong = self.audited_wrong * keep + error
        if doubt < SURE:
            self.sure, self.sure_wrong = self.sure * keep + 1, self.sure_wrong * keep + error
        elif doubt < NEAR_BAR:
            self.expected, self.wrong = self.expected * keep + doubt, self.wrong * keep + error
            self.near = self.near * keep + 1

    @property
    def broken(self) -> bool:
        """Audited hits were wrong more often than allowed, beyond doubt: nothing is served by score until they heal."""
        return (
            self.audited_wrong > BROKEN - 0.5
            and wilson_lower(self.audited_wrong, self.audited) > self.max_wrong + self.answer_noise
        )

    def doubt(self, score: float) -> float:
        """Chance that a hit with this score is wrong."""
        scale, floor = self._corrections()
        return min(1.0, scale * _sigmoid(-score) + floor)

    def _corrections(self) -> tuple[float, float]:
        """What the belief's chance to be wrong is multiplied by, and what is added."""
        share, weight = PRIOR_FLOOR
        noise = self.answer_noise
        floor = (self.sure_wrong + (share + noise) * weight) / (self.sure + weight) - noise
        wrong = max(0.0, self.wrong - noise * self.near)
        scale = max(LEAST_SCALE, (wrong + PRIOR_SCALE * PRIOR_ERRORS) / (self.expected + PRIOR_ERRORS))
        return scale, max(floor, share * LEAST_SCALE)

    def height(self) -> float:
        """``inf`` where no score is high enough. A broken bar has a height too: what would be a hit heals it."""
        scale, floor = self._corrections()
        doubts = np.minimum(1.0, scale * _DOUBTS + floor)
        hits = np.cumsum(self.seen[:0:-1])[::-1]
        wrong = np.cumsum((self.seen[1:] * doubts)[::-1])[::-1]
        aim = AIM * self.max_wrong
        fine = (wrong <= aim * hits) & (doubts <= MOST_DOUBTFUL) & ((hits > 0) | (doubts <= aim))
        bad = np.flatnonzero(~fine)
        lowest = int(bad[-1]) + 1 if len(bad) else 0
        return lowest * BIN if lowest < BINS else math.inf


_DOUBTS: Vector = 1 / (1 + np.exp((np.arange(BINS) + 0.5) * BIN))  # by score, uncorrected


def _sigmoid(log_odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(log_odds, -30.0), 30.0)))
