"""Makes a calibration from labelled questions: how far similarity and the rest can be trusted, over many sources.

Each source is replayed as a stream in random order. What the rule would look at becomes a row, whether the answer would
have been right its label. One logistic regression over all sources, each with the same weight, gives the mean; one per
source, drawn towards that mean, shows how far sources lie apart: the covariance.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.cache.calibrated import Calibration
from gateway.cache.decision import plain
from gateway.cache.features import CANDIDATES, EARNED, NAMES, Row, look
from gateway.cache.learning import LINK_FLOOR
from gateway.cache.memory import MemoryIndex
from gateway.chat import CachedQuestion, CacheKey, Neighbor, Scope
from gateway.ports import Vector

SERVED = 0.7  # share of near questions with a right neighbour that are taken as served, so not kept: no rule exists yet
SERVED_SIMILARITY = 0.95
ROWS = 600.0  # that a source counts for, however many it has
RIDGE = 2.0  # pull of a source's regression towards the mean, in rows
# Log-odds below what sources had in common, and how far (one standard deviation) a scope may move from there, for what
# each must learn by itself: elsewhere "not" was chatter, here it may be the question.
DISTRUST = (2.0, 1.0)
SPREAD = 0.01  # variance added to every weight: no number of sources shows all there are
MAX_QUESTIONS = 3_700  # of one stream; more of one source say little new
THINNED = (370, 60)  # groups: how crowded a cache is changes what similarity means, so big sources are also thinned

Embed = Callable[[str], Awaitable[Vector]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One question of a stream."""

    text: str
    group: str  # two questions share an answer if and only if their groups are equal
    vector: Vector


@dataclass(frozen=True, slots=True)
class Pair:
    kept: Labelled
    asked: Labelled


@dataclass(frozen=True, slots=True)
class Rows:
    """What was looked at, and whether the answer would have been right."""

    rows: NDArray[np.float64]  # (n, len(NAMES))
    right: NDArray[np.float64]  # (n,) 0 or 1


async def rows_of(questions: Sequence[Mapping[str, Any]], embed: Embed, seed: int = 1) -> list[Rows]:
    """The rows of one file: ``{"q", "g"}`` lines (and "tenant", if several share the file) or ``{"a", "b", "same"}``.

    Raises KeyError for other lines.
    """
    if "a" in questions[0]:
        pairs = []
        for line in questions:
            same = bool(line["same"] if "same" in line else line["same_answer"])
            kept = Labelled(line["a"], "a", await embed(line["a"]))
            pairs.append(Pair(kept, Labelled(line["b"], "a" if same else "b", await embed(line["b"]))))
        return [of_pairs(pairs)]
    tenants: defaultdict[str, list[Labelled]] = defaultdict(list)
    for line in questions:
        labelled = Labelled(line["q"], str(line["g"]), await embed(line["q"]))
        tenants[str(line.get("tenant", ""))].append(labelled)
    return [await of_stream(part, seed) for stream in tenants.values() for part in (stream, *_thinned(stream, seed))]


def _thinned(stream: Sequence[Labelled], seed: int) -> list[list[Labelled]]:
    groups = sorted({question.group for question in stream})
    parts = []
    for count in THINNED:
        if len(groups) > 2 * count:
            chosen = set(random.Random(seed).sample(groups, count))
            parts.append([question for question in stream if question.group in chosen])
    return parts


async def of_stream(questions: Sequence[Labelled], seed: int = 1) -> Rows:
    """Ask the questions in random order; an answered one is kept, linked where a near one has the same answer."""
    chance = random.Random(seed)
    order = list(questions)
    chance.shuffle(order)
    index, scope, seen = MemoryIndex(len(order) + 1), Scope("calibration", "00"), set[str]()
    group_of: dict[CacheKey, str] = {}
    rows: list[Row] = []
    right: list[bool] = []
    for question in order[:MAX_QUESTIONS]:
        if plain(question.text) in seen:
            continue
        near = await index.search(scope, question.vector, CANDIDATES)
        found = look(question.text, near)
        if found.best is not None and found.row is not None:
            same = group_of[found.best.question.key] == question.group
            rows.append(found.row)
            right.append(same)
            if same and found.best.similarity > SERVED_SIMILARITY and chance.random() < SERVED:
                continue
        seen.add(plain(question.text))
        key = CacheKey(scope, f"{len(seen):08x}")
        for neighbor in near:
            if neighbor.similarity >= LINK_FLOOR and group_of[neighbor.question.key] == question.group:
                key = neighbor.question.key
                break
        group_of[key] = question.group
        await index.add(CachedQuestion(question.text, key), question.vector, 1e9)
    return _rows(rows, right)


def of_pairs(pairs: Sequence[Pair]) -> Rows:
    rows, right = [], []
    key = CacheKey(Scope("calibration", "01"), "00")
    for pair in pairs:
        if plain(pair.kept.text) == plain(pair.asked.text):
            continue
        cosine = float(pair.kept.vector @ pair.asked.vector)
        found = look(pair.asked.text, [Neighbor(CachedQuestion(pair.kept.text, key), cosine)])
        if found.row is not None:
            rows.append(found.row)
            right.append(pair.kept.group == pair.asked.group)
    return _rows(rows, right)


def calibrate(embedder: str, sources: Mapping[str, Sequence[Rows]]) -> Calibration:
    """``sources``: by name, the streams and pairs of each. Raises ValueError where there is nothing to learn from."""
    parts = [
        (part, ROWS / len(part.right) / len(many)) for many in sources.values() for part in many if len(part.right)
    ]
    if not parts:
        raise ValueError("no two questions in this data are near each other: nothing to calibrate on")
    size = len(NAMES)
    weights = np.concatenate([np.full(len(part.right), weight) for part, weight in parts])
    rows, right = np.concatenate([p.rows for p, _ in parts]), np.concatenate([p.right for p, _ in parts])
    mean = _regression(rows, right, weights, np.zeros(size), 0.0005 * len(right))
    apart = np.zeros((size, size))
    for part, weight in parts:
        own = _regression(
            part.rows, part.right, np.full(len(part.right), min(1.0, ROWS / len(part.right))), mean, RIDGE
        )
        apart += np.outer(own - mean, own - mean) * weight * len(part.right)
    apart /= sum(weight * len(part.right) for part, weight in parts)
    covariance = (
        0.5 * apart + 0.5 * np.diag(np.diag(apart)) + SPREAD * np.eye(size)
    )  # few sources: half the correlation
    for name in EARNED:
        place = NAMES.index(name)
        mean[place] -= DISTRUST[0]
        covariance[place, place] += DISTRUST[1] ** 2
    provenance = {
        name: {"lookups": sum(len(p.right) for p in many), "right": round(_share(many), 4)}
        for name, many in sorted(sources.items())
    }
    return Calibration(embedder, mean, covariance, {"sources": provenance})


def _share(many: Sequence[Rows]) -> float:
    count = sum(len(part.right) for part in many)
    return float(sum(part.right.sum() for part in many) / count) if count else 0.0


def _regression(
    rows: NDArray[np.float64], right: NDArray[np.float64], weights: NDArray[np.float64], towards: Row, ridge: float
) -> Row:
    """Logistic regression by Newton steps, drawn towards a point."""
    found = towards.copy()
    pull = ridge * np.eye(rows.shape[1])
    for _ in range(200):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weights * (right - chance)) - pull @ (found - towards)
        curve = (rows * (weights * chance * (1 - chance))[:, None]).T @ rows + pull
        step = np.linalg.solve(curve, slope)
        found = found + step / max(
            1.0, float(np.abs(step).max())
        )  # whole steps end nowhere where a source is separable
        if float(np.abs(step).max()) < 1e-6:
            break
    return found


def _rows(rows: Sequence[Row], right: Sequence[bool]) -> Rows:
    return Rows(np.array(rows, np.float64).reshape(len(rows), len(NAMES)), np.array(right, np.float64))
