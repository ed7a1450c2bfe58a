"""`python -m bench semantic-cache`: labelled questions as a stream through the serving classes.

Groups: questions in random order; a hit is right where the answer belongs to the same group. A miss is answered (the
"answer" is the group), kept, and compared with the nearest kept answer in the background, as serving does: equal
answers make the question an alias. Pairs: each in a scope of its own, ``a`` kept, ``b`` asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from gateway.cache.calibrated import rule_for
from gateway.cache.decision import Decision, Rule, StrictRule, plain
from gateway.cache.keys import Keys
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.semantic import SemanticCache
from gateway.cache.writer import index_question
from gateway.chat import Answer, CacheEntry, CacheKey, CacheWishes, Neighbor, Scope
from gateway.embedding.cached import normalised
from gateway.embedding.local import LocalEmbedder
from gateway.ports import AnswerStore, Embedder, QuestionIndex, Vector


@dataclass(frozen=True, slots=True)
class Threshold:
    """What most semantic caches do: the nearest question above a fixed similarity answers."""

    min_similarity: float
    candidates: int = 1

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        if neighbors and neighbors[0].similarity >= self.min_similarity:
            return Decision(neighbors[0], "")
        return Decision(None, "nothing near")


@dataclass(slots=True)
class Tally:
    lookups: int = 0
    exact: int = 0
    hits: int = 0
    wrong: int = 0
    seconds: list[float] = field(default_factory=list)

    def row(self, name: str) -> dict[str, Any]:
        seconds = np.array(self.seconds or [0.0]) * 1e3
        return {
            "file": name,
            "lookups": self.lookups,
            "exact_hit_rate": round(self.exact / max(1, self.lookups + self.exact), 4),
            "hit_rate": round(self.hits / max(1, self.lookups), 4),
            "wrong_hits": self.wrong,
            "wrong_hit_rate": round(self.wrong / max(1, self.hits), 4),
            "unsafe_rate": round(self.wrong / max(1, self.lookups), 4),
            "upper95": round(upper95(self.wrong, self.hits), 4),
            "p50_ms": round(float(np.percentile(seconds, 50)), 3),
            "p99_ms": round(float(np.percentile(seconds, 99)), 3),
        }


def upper95(wrong: int, hits: int) -> float:
    """Clopper-Pearson upper bound (one-sided, 95 %) of the wrong share; 1 without hits."""
    if wrong >= hits:
        return 1.0
    low, high = wrong / hits, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        logs = [
            math.lgamma(hits + 1) - math.lgamma(k + 1) - math.lgamma(hits - k + 1)
            + k * math.log(middle or 1e-300) + (hits - k) * math.log1p(-min(middle, 1 - 1e-15))
            for k in range(wrong + 1)
        ]  # fmt: skip
        low, high = (middle, high) if sum(map(math.exp, logs)) > 0.05 else (low, middle)
    return high


class Vectors:
    """Each text embedded once for all rules, before the clock runs."""

    def __init__(self, embedder: Embedder, file: Path | None = None) -> None:
        """``file`` keeps the vectors between runs."""
        self._embedder = embedder
        self._file = file
        self._kept: dict[str, Vector] = {}
        if file is not None and file.is_file():
            with np.load(file) as saved:
                self._kept = dict(zip(saved["texts"].tolist(), saved["rows"], strict=True))

    async def load(self, texts: Sequence[str]) -> None:
        missing = sorted({normalised(text) for text in texts} - self._kept.keys())
        for text in missing:
            self._kept[text] = (await self._embedder.embed([text], query=True))[0]
        if missing and self._file is not None:
            np.savez(self._file, texts=np.array(list(self._kept)), rows=np.stack(list(self._kept.values())))

    async def of(self, text: str) -> Vector:
        return self._kept[normalised(text)]


class Replay:
    """One stream through the semantic tier with one rule."""

    def __init__(self, vectors: Vectors, rule: Rule, store: AnswerStore, index: QuestionIndex, scope: Scope) -> None:
        self._vectors = vectors
        self._store = store
        self._index = index
        self._scope = scope
        self._seen: set[str] = set()
        self._cache = SemanticCache(store, index, rule=rule)

    async def ask(self, question: str, truth: str, tally: Tally, *, keep: bool = True) -> None:
        if plain(question) in self._seen:
            tally.exact += 1
            return
        vector = await self._vectors.of(question)
        key = CacheKey(self._scope, f"{len(self._seen):08x}")
        began = time.perf_counter()
        hit = await self._cache.lookup(Keys(key, True), question, self._vectors.of(question), None, CacheWishes())
        tally.seconds.append(time.perf_counter() - began)
        tally.lookups += 1
        if hit is not None:
            tally.hits += 1
            tally.wrong += hit.entry.answer.text != truth
        elif keep:
            await self.keep(question, truth, vector, key)

    async def keep(self, question: str, truth: str, vector: Vector, key: CacheKey) -> None:
        """Answer a miss and keep it as the writer does: an equal answer nearby makes the question its alias."""
        self._seen.add(plain(question))
        choice = {"index": 0, "message": {"role": "assistant", "content": truth}, "finish_reason": "stop"}
        entry = CacheEntry(key, question, Answer((choice,), "m"), "m", time.time(), 1e6)
        await self._store.put(entry)
        await index_question(self._store, self._index, entry, vector)


def answer_of(group: str) -> str:
    """The answer of a group: a number of its own, so that the words of two labels cannot pass for agreement."""
    return str(crc32(group.encode()))


async def replay_file(path: Path, rows: list[dict[str, Any]], vectors: Vectors, rule: Rule, seed: int) -> Tally:
    tally, order = Tally(), random.Random(seed)
    if "g" in rows[0]:
        rows = rows[:]
        order.shuffle(rows)
        replay = Replay(vectors, rule, MemoryStore(1 << 30), MemoryIndex(100_000), Scope("bench", "00"))
        for row in rows:
            await replay.ask(row["q"], answer_of(row["g"]), tally)
        return tally
    for number, row in enumerate(rows):
        replay = Replay(vectors, rule, MemoryStore(), MemoryIndex(), Scope("bench", f"{number:04x}"))
        same = row.get("same", row.get("same_answer"))
        await replay.ask(row["a"], "a", Tally())
        await replay.ask(row["b"], "a" if same else "b", tally, keep=False)
    return tally


async def run(options: argparse.Namespace) -> dict[str, Any]:
    embedder = LocalEmbedder(options.threads)
    vectors = Vectors(embedder, options.vectors)
    served: Rule = rule_for(embedder.model, options.max_wrong) if options.rule == "calibrated" else StrictRule()
    rules: dict[str, Rule] = {"ocho": served}
    rules |= {f"cosine {level}": Threshold(level) for level in options.thresholds}
    report: dict[str, Any] = {
        "command": "semantic-cache", "seed": options.seed, "rule": options.rule,
        "embedder": embedder.model, "max_wrong": options.max_wrong,
        "python": platform.python_version(), "store": "memory", "files": [], "thresholds": {},
    }  # fmt: skip
    for path in options.data:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if "g" not in rows[0] and not isinstance(rows[0].get("a"), str):
            continue  # conversations: compared by the exact hash of the earlier turns, never by meaning across them
        await vectors.load([text for row in rows for text in ([row["q"]] if "q" in row else [row["a"], row["b"]])])
        for name, rule in rules.items():
            tally = await replay_file(path, rows, vectors, rule, options.seed)
            row = tally.row(path.name)
            (report["files"] if name == "ocho" else report["thresholds"].setdefault(name, [])).append(row)
            print(
                f"{path.stem:28} {name:12} lookups {row['lookups']:6} exact {row['exact_hit_rate']:.3f} hit "
                f"{row['hit_rate']:.3f} wrong {row['wrong_hit_rate']:.4f} (≤ {row['upper95']:.4f}) unsafe "
                f"{row['unsafe_rate']:.4f} p50 {row['p50_ms']:.2f} p99 {row['p99_ms']:.2f} ms",
                flush=True,
            )
    await embedder.close()
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench semantic-cache", description=__doc__)
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="*_groups.jsonl, *_pairs.jsonl")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rule", choices=("strict", "calibrated"), default="strict", help="strict is what is served")
    parser.add_argument("--max-wrong", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=0, help="of the embedder; 0 is two")
    parser.add_argument("--thresholds", nargs="*", type=float, default=[0.8, 0.9, 0.95])
    parser.add_argument("--vectors", type=Path, help="keep the embeddings in this .npz between runs")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args(arguments)
    report = asyncio.run(run(options))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
