"""Makes a calibration of the gate from drafts of which it is known whether they are right. Pure.

Weights are fitted and bars set on one part of the question groups; the rest, unseen, gives the reported figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.routing import gate

CONFIDENCE = 0.95
FOLDS = 5
RIDGE = 1.0  # pull of the weights towards 0, in samples
USABLE = 0.50  # labelled quick answers: more likely right than not
SURE_WRONG = 0.015
FITTED = 0.6  # share of the groups
FEWEST = 30  # drafts that pass the vetoes, right and wrong ones together, to fit anything on

AGAINST = {"rival", "length", "refused"}  # what speaks against a draft; the rest speaks for it

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """One draft: measured, vetoed or not, right or not."""

    group: str  # questions of one group have the same answer: they are fitted on together or not at all
    veto: str
    values: tuple[float, ...]  # as ``gate.measures``; empty where vetoed
    right: bool
    found: bool = False  # its citations are not the model's own


@dataclass(frozen=True, slots=True)
class Outcome:
    calibration: dict[str, Any]  # as ``gate.read_calibrations`` reads it
    report: dict[str, Any]


def calibrated(samples: Sequence[Sample], max_wrong: float, seed: int, source: str) -> Outcome:
    """``max_wrong``: upper bound of the wrong ones among accepted drafts. Raises ValueError if too little is known."""
    fitted, held = split(samples, seed)
    judged_right = [s.right for s in fitted if s.values]
    if len(judged_right) < FEWEST or all(judged_right) or not any(judged_right):
        raise ValueError(
            f"{len(judged_right)} drafts passed the vetoes, {sum(judged_right)} of them right: too few, or all of one "
            "kind; give more questions, or ask each more often"
        )
    report: dict[str, Any] = {
        "drafts": len(samples),
        "fitted_on": len(fitted),
        "held_out": len(held),
        "bound": max_wrong,
        "draft_alone_wrong": share(not s.right for s in held),
        "vetoes": dict(Counter(s.veto for s in samples if s.veto).most_common()),
        "vetoed_right": share(s.right for s in samples if s.veto),
        "citations_found": share(s.found for s in samples),
    }
    calibration: dict[str, Any] = {"source": source, "measures": list(gate.MEASURES)}
    for name, kind in gate.KINDS.items():
        weights, bars = _calibrate(fitted, kind, max_wrong if kind else max_wrong / 2)
        calibration[name] = {
            "weights": [round(float(w), 4) for w in weights],
            **{bar: round(float(value), 4) for bar, value in bars.items()},
        }
        report[name] = _judged(held, kind, weights, bars)
    return Outcome(calibration, report)


def reported(samples: Sequence[Sample], calibrations: gate.Calibrations) -> dict[str, Any]:
    """What a finished calibration lets through of drafts that it was not made from."""
    report: dict[str, Any] = {
        "drafts": len(samples),
        "draft_alone_wrong": share(not s.right for s in samples),
        "vetoes": dict(Counter(s.veto for s in samples if s.veto).most_common()),
        "vetoed_right": share(s.right for s in samples if s.veto),
        "citations_found": share(s.found for s in samples),
    }
    for name, kind in gate.KINDS.items():
        made = calibrations[kind]
        bars = {"accept": made.accept, "usable": made.usable, "sure": made.sure}
        report[name] = _judged(samples, kind, np.array(made.weights), bars)
    return report


def split(samples: Sequence[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
    groups = sorted({s.group for s in samples})
    Random(seed).shuffle(groups)
    chosen = set(groups[: int(FITTED * len(groups))])
    return [s for s in samples if s.group in chosen], [s for s in samples if s.group not in chosen]


def _calibrate(samples: Sequence[Sample], kind: bool, max_wrong: float) -> tuple[Floats, dict[str, float]]:
    """Weights on all samples of the kind; bars on scores that each got from weights fitted without its group."""
    kept = [s for s in samples if s.values]
    x, y = _design(kept, kind), np.array([s.right for s in kept], float)
    signs = np.array([*(-1.0 if name in AGAINST else 1.0 for name in gate.names_of(kind)), 0.0])
    groups = sorted({s.group for s in kept})
    fold = {group: index % FOLDS for index, group in enumerate(groups)}
    folds = np.array([fold[s.group] for s in kept])
    scores = np.zeros(len(kept))
    for k in range(FOLDS):
        scores[folds == k] = _probability(x[folds == k], fit(x[folds != k], y[folds != k], signs))
    accept = bar(scores, y, max_wrong)
    return fit(x, y, signs), {
        "accept": accept,
        "usable": min(USABLE, accept),
        "sure": max(accept, bar(scores, y, SURE_WRONG)),
    }


def fit(x: Floats, y: Floats, signs: Floats) -> Floats:
    """Weights that point the way they must: what speaks for a draft in one set of questions and against it in reason
    is chance, and left out."""
    used = np.ones(x.shape[1], bool)
    while True:
        weights = np.zeros(x.shape[1])
        weights[used] = _fit(x[:, used], y)
        against = weights * signs
        if against.min() >= 0:
            return weights
        used[int(against.argmin())] = False


def _fit(x: Floats, y: Floats) -> Floats:
    """Logistic regression by Newton's method, ridge on all but the constant (the last)."""
    weights = np.zeros(x.shape[1])
    penalty = RIDGE * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-6
    for _ in range(50):
        p = _probability(x, weights)
        gradient = x.T @ (y - p) - penalty @ weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def bar(scores: Floats, right: Floats, max_wrong: float) -> float:
    """The lowest score above which at most ``max_wrong`` are wrong, by the upper confidence bound; 0.999 where none."""
    best = 0.999
    for candidate in np.unique(np.round(scores, 3))[::-1]:
        taken = scores >= candidate
        wrong = int((1 - right[taken]).sum())
        if upper_bound(wrong, int(taken.sum())) <= max_wrong:
            best = float(candidate)
    return min(best, 0.999)


def upper_bound(wrong: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Clopper and Pearson's one-sided upper bound of a share."""
    if n == 0 or wrong >= n:
        return 1.0
    low, high = wrong / n, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _at_most(wrong, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _judged(samples: Sequence[Sample], kind: bool, weights: Floats, bars: Mapping[str, float]) -> dict[str, Any]:
    """What the gate does to drafts it has not been fitted on."""
    kept = [s for s in samples if s.values]
    drafts = len(kept) + sum(not s.values for s in samples)
    if not kept:
        return {}
    scores = _probability(_design(kept, kind), weights)
    right, own = np.array([s.right for s in kept], float), np.array([not s.found for s in kept])
    found: dict[str, Any] = {"auc": round(auc(scores, right), 4)}
    for name, value in bars.items():
        taken = {  # as ``gate.judge``
            "accept": scores >= np.where(own, value, bars["sure"] if kind else np.inf),
            "usable": scores >= value,
            "sure": own & (scores >= value),
        }[name]
        wrong, n = int((1 - right[taken]).sum()), int(taken.sum())
        found[name] = {
            "bar": round(float(value), 4), "share": round(n / drafts, 4),
            "wrong": round(wrong / n, 4) if n else None,
            "wrong_upper": round(upper_bound(wrong, n), 4),
        }  # fmt: skip
    return found


def auc(scores: Floats, right: Floats) -> float:
    good, bad = scores[right == 1], scores[right == 0]
    if not len(good) or not len(bad):
        return float("nan")
    return float((good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean())


def share(values: object) -> float:
    found = list(values)  # type: ignore[call-overload]
    return round(sum(found) / len(found), 4) if found else 0.0


def _at_most(k: int, n: int, p: float) -> float:
    """P(at most k of n) at probability p."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    return math.fsum(math.exp(value) for value in logs)


def _design(samples: Sequence[Sample], kind: bool) -> Floats:
    return np.array([[*gate.of_kind(s.values, kind), 1.0] for s in samples])


def _probability(x: Floats, weights: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(x @ weights, -40, 40)))
    return found
