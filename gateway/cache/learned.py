"""All that one scope has learned: its labels, and the belief and the bar that follow from them. No I/O."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.cache.asking import Asking
from gateway.cache.belief import BINS, LABEL_NOISE, MOST_DOUBTFUL, Bar, Belief, Matrix, Vector
from gateway.cache.features import Row, swapped
from gateway.cache.labels import Labels

FEW = 60  # labels up to which the belief is fitted anew every fifth label, afterwards every fifteenth
_SEEN = (BINS + 1) * 4  # bytes


class Learned:
    """Starts from a calibration. ``dump`` and ``take`` carry it over a restart, and from one replica to the next."""

    def __init__(self, mean: Vector, covariance: Matrix, max_wrong: float, answer_noise: float) -> None:
        self.belief = Belief(mean, covariance)
        self.bar = Bar(max_wrong, answer_noise)
        self.asking = Asking()
        self.state = ""  # learning, serving or off, as of the last look at it
        self._labels = Labels()
        self._unread = 0  # labels that the belief was not fitted to yet

    def see(self, row: Row) -> float:
        """The cautious log-odds of a lookup, which the bar counts."""
        score = self.belief.cautious(row)
        self.bar.see(score)
        return score

    def passes(self, row: Row, score: float, same_words: bool, height: float) -> bool:
        """Whether what scored ``score`` reaches the bar. A broken bar serves nothing, but says what would be a hit."""
        return not swapped(row) and (score >= height or (same_words and self._trusts_words(score)))

    def learn(self, at: float, row: Row, right: bool, hit: bool, answer_noise: float) -> None:
        """``at``: wall seconds. ``hit``: it reached the bar, or would have, were the bar not broken."""
        score = self.belief.cautious(row)
        self.bar.answer_noise = answer_noise
        self.bar.learn(score, right, hit=hit)
        self._labels.add(at, row, score, right, hit)
        self._unread += 1
        if self._unread >= (5 if len(self._labels) <= FEW else 15):
            self._fit(answer_noise)

    def _trusts_words(self, score: float) -> bool:
        """Whether the same words in the same frame are enough: until the scope has learned that they are not."""
        return len(self._labels) < FEW or self.bar.doubt(score) <= MOST_DOUBTFUL

    def dump(self) -> bytes:
        return self.bar.seen.astype("<f4").tobytes() + self._labels.dump()

    def take(self, data: bytes, answer_noise: float) -> None:
        """Add labels of ``data`` that are new here. What cannot be read adds nothing."""
        if len(data) < _SEEN or not self._labels.merge(Labels.load(data[_SEEN:])):
            return
        seen = np.frombuffer(data[:_SEEN], "<f4").astype(np.float64)
        bar = Bar(self.bar.max_wrong, answer_noise, self.bar.seen)
        if np.isfinite(seen).all() and (seen >= 0).all() and self.bar.seen.sum() < seen.sum() < math.inf:
            bar.seen = seen
        for label in self._labels.recent:
            bar.learn(float(label["score"]), bool(label["right"]), hit=bool(label["hit"]))
        self.bar = bar
        self._fit(answer_noise)

    def _fit(self, answer_noise: float) -> None:
        labels: NDArray[Any] = self._labels.recent
        self.belief.fit(
            labels["row"].astype(np.float64), labels["right"].astype(np.float64), max(LABEL_NOISE, answer_noise)
        )
        self._unread = 0
