"""The calibrated rule: vetoes first, then small monotone trees over ``features``, then a bar for the allowed error.

A calibration file belongs to one embedder. It holds the trees and, per share of wrong hits that may be allowed, the
bar that a score must reach, by language: similarity means something else in each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import orjson

from gateway.cache.decision import Decision, Rule, StrictRule, plain
from gateway.cache.facets import facets, veto
from gateway.cache.features import CANDIDATES, features
from gateway.chat import Neighbor

Node = tuple[float, ...]  # (-1, value) or (feature, threshold, left, right, missing goes left)


@dataclass(frozen=True, slots=True)
class Trees:
    """A sum of decision trees, in log-odds."""

    base: float
    trees: tuple[tuple[Node, ...], ...]

    def score(self, row: Sequence[float]) -> float:
        total = self.base
        for nodes in self.trees:
            node = nodes[0]
            while node[0] >= 0:
                value = row[int(node[0])]
                left = node[4] if math.isnan(value) else value <= node[1]
                node = nodes[int(node[2] if left else node[3])]
            total += node[1]
        return total


@dataclass(frozen=True, slots=True)
class CalibratedRule:
    trees: Trees
    bars: Mapping[str, float]  # by language, in log-odds; "" for all others
    candidates: int = CANDIDATES

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        if not neighbors:
            return Decision(None, "nothing near")
        best = neighbors[0]
        if plain(best.question.text) == plain(asked):
            return Decision(best, "", 1.0)
        wanted = facets(asked)
        if difference := veto(wanted, facets(best.question.text)):
            return Decision(None, difference)
        score = self.trees.score(features(asked, neighbors).tolist())
        probability = 1 / (1 + math.exp(-score))
        if score < self.bars.get(wanted.language, self.bars[""]):
            return Decision(None, "uncertain", probability, grey=best)
        return Decision(best, "", probability)


def rule_for(embedder: str, max_wrong: float = 0.01) -> Rule:
    """The shipped rule for an embedder model; the strict preset where there is none.

    ``max_wrong`` is the share of hits that may be wrong; the file's next stricter bar is used.
    """
    file = files("gateway.cache") / "calibration" / f"{embedder}.json"
    if "/" in embedder or not file.is_file():
        return StrictRule()
    return load(file.read_bytes(), max_wrong)


def load(data: bytes, max_wrong: float) -> Rule:
    """A rule from a calibration file. An allowance stricter than all its bars gives the strict preset."""
    calibration = orjson.loads(data)
    allowed = [float(share) for share in calibration["bars"] if float(share) <= max_wrong]
    if not allowed:
        return StrictRule(min_similarity=0.985)
    trees = tuple(tuple(tuple(node) for node in nodes) for nodes in calibration["trees"])
    return CalibratedRule(Trees(calibration["base"], trees), calibration["bars"][str(max(allowed))])
