"""One stream of labelled questions through the classes that serve, under one rule."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from bench import questions
from bench.questions import Vectors
from bench.semantic_cache.judges import RealJudge, TruthJudge
from gateway.cache.bounds import clopper_pearson_upper
from gateway.cache.decision import Decision, Rule, plain
from gateway.cache.keys import Keys, Sharing, cache_keys
from gateway.cache.language import language
from gateway.cache.semantic import Doubtful, SemanticCache
from gateway.cache.writer import index_question
from gateway.chat import (
    Answer,
    CachedQuestion,
    CacheEntry,
    CacheHit,
    CacheKey,
    CacheWishes,
    ChatRequest,
    Message,
    Neighbor,
    RequestContext,
    Scope,
    Tenant,
)
from gateway.clock import Deadline, Timings
from gateway.consulting import Consultant
from gateway.ports import AnswerStore, QuestionIndex

SECRET = b"of the bench"
NOBODY = RequestContext("", Tenant(""), Deadline(float("inf")), CacheWishes(), Timings())
Stores = tuple[AnswerStore, QuestionIndex]
BenchJudge = TruthJudge | RealJudge


@dataclass(frozen=True, slots=True)
class Threshold:
    """What most semantic caches do: the nearest question above a fixed similarity answers."""

    min_similarity: float
    candidates: int = 1

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        if neighbors and neighbors[0].similarity >= self.min_similarity:
            return Decision(neighbors[0], "")
        return Decision(None, "nothing near")

    def worth_asking(self, asked: str, neighbors: Sequence[Neighbor], keys: Sequence[CacheKey]) -> None:
        """Knows nothing of chances."""

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> None:
        """Learns nothing."""

    def repeated(self, agreed: bool) -> None:
        """Learns nothing."""


@dataclass(slots=True)
class Tally:
    lookups: int = 0
    exact: int = 0
    hits: int = 0
    wrong: int = 0
    late_lookups: int = 0  # in the second half of a stream: what remains once a scope has learned
    late_hits: int = 0
    judged: int = 0  # verdicts that were asked for
    seconds: list[float] = field(default_factory=list)

    def count(self, hit: bool, wrong: bool, seconds: float, late: bool) -> None:
        self.lookups += 1
        self.hits += hit
        self.wrong += wrong
        self.late_lookups += late
        self.late_hits += late and hit
        self.seconds.append(seconds)

    def row(self, name: str) -> dict[str, Any]:
        milliseconds = np.array(self.seconds or [0.0]) * 1e3
        return {
            "file": name,
            "lookups": self.lookups,
            "exact_hit_rate": round(self.exact / max(1, self.lookups + self.exact), 4),
            "hit_rate": round(self.hits / max(1, self.lookups), 4),
            "wrong_hits": self.wrong,
            "wrong_hit_rate": round(self.wrong / max(1, self.hits), 4),
            "unsafe_rate": round(self.wrong / max(1, self.lookups), 4),
            "upper95": round(clopper_pearson_upper(self.wrong, self.hits), 4),
            "second_half_hit_rate": round(self.late_hits / max(1, self.late_lookups), 4),
            "judged": self.judged,
            "p50_ms": round(float(np.percentile(milliseconds, 50)), 3),
            "p99_ms": round(float(np.percentile(milliseconds, 99)), 3),
        }


class Replay:
    """One stream through the semantic tier with one rule, and with a judge of what it cannot tell."""

    def __init__(
        self,
        vectors: Vectors,
        rule: Rule,
        stores: Stores,
        chance: random.Random,
        noise: float,
        judge: BenchJudge | None = None,
    ) -> None:
        self._judge = judge
        self._vectors = vectors
        self._rule = rule
        self._store, self._index = stores
        self._chance = chance
        self._noise = noise
        self._seen: set[tuple[Scope, str]] = set()
        self._group_of: dict[CacheKey, str] = {}
        self._cache = SemanticCache(self._store, self._index, rule=rule)

    async def ask(self, scope: Scope, question: str, group: str, tally: Tally, *, late: bool = False) -> None:
        """Look the question up; keep its answer where nothing was found."""
        if (scope, plain(question)) in self._seen:
            tally.exact += 1
            return
        key = CacheKey(scope, f"{len(self._group_of):08x}")
        began = time.perf_counter()
        look = await self._cache.look(
            Keys(key, True), question, self._vectors.of(question), None, CacheWishes(), judged=self._judge is not None
        )
        seconds = time.perf_counter() - began
        hit = look.hit
        if hit is None and self._judge is not None:
            before = self._judge.asked
            hit = await self._judged(question, group, look.doubts)
            tally.judged += self._judge.asked - before
        wrong = hit is not None and self._group_of[hit.entry.key] != group
        tally.count(hit is not None, wrong, seconds, late)
        if hit is None:
            await self.keep(key, question, group)

    async def _judged(self, question: str, group: str, doubts: Sequence[Doubtful]) -> CacheHit | None:
        """As serving asks: a yes is a hit, and its question an alias."""
        assert self._judge is not None
        self._told(question, group)
        found = await Consultant(self._judge, lambda: 1.0).consult(question, doubts, (), NOBODY)
        if found is None or found.hit is None:
            return None
        entry = found.hit.entry
        await self._index.add(CachedQuestion(question, entry.key), await self._vectors.of(question), entry.ttl_s)
        return found.hit

    def _told(self, question: str, group: str) -> None:
        if isinstance(self._judge, TruthJudge):
            self._judge.meanings[question] = group

    async def keep(self, key: CacheKey, question: str, group: str) -> None:
        """Answer a miss and keep it as the writer does."""
        self._seen.add((key.scope, plain(question)))
        self._group_of[key] = group
        self._told(question, group)
        text = answer_of(group, question, self._chance, self._noise)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        entry = CacheEntry(key, question, Answer((choice,), "m"), "m", time.time(), 1e6)
        await self._store.put(entry)
        await index_question(self._store, self._index, entry, await self._vectors.of(question), self._rule)


def answer_of(group: str, question: str, chance: random.Random, noise: float) -> str:
    """An answer that states the facts of the group, in one of several wordings; with ``noise``, other facts."""
    if chance.random() < noise:
        group = f"{group} {chance.random()}"
    number = crc32(group.encode())
    amount, document = 1_000 + number % 9_000_000, f"REG-{number % 9_973}"
    wordings = (
        ("한도는 {0:,}원입니다. 근거 문서는 {1}입니다.", "문서 {1}에 따라 한도는 {0:,}원입니다.")
        if language(question) == "ko"
        else (
            "The limit is {0:,} dollars, as document {1} says.",
            "According to document {1} the limit is {0:,} dollars.",
        )
    )
    return chance.choice(wordings).format(amount, document)


async def replay(
    rows: list[dict[str, Any]],
    before: list[dict[str, Any]],
    vectors: Vectors,
    rule: Rule,
    stores: Stores,
    judge: BenchJudge | None,
    options: Any,
) -> Tally:
    """``before``: groups that the same scope has answered and learned from when it gets ``rows``; they do not count."""
    tally, order = Tally(), random.Random(options.seed)
    replayed = Replay(vectors, rule, stores, order, options.noise, judge)
    if before:
        scope = _scope(options, "")
        for row in _shuffled(before, order):
            await replayed.ask(scope, row["q"], row["g"], Tally())
        for row in _shuffled(questions.grouped(rows, "later "), order):
            await replayed.ask(scope, row["q"], row["g"], tally)
        return tally
    form = questions.kind(rows)
    if form == "groups":
        for number, row in enumerate(_shuffled(rows, order)):
            scope = _scope(options, row.get("tenant", ""))
            await replayed.ask(scope, row["q"], row["g"], tally, late=number * 2 >= len(rows))
        return tally
    for number, row in enumerate(rows):
        same = row["same"] if "same" in row else row["same_answer"]
        (kept, kept_text), (asked, asked_text) = (
            (_scope(options, f"pair{number}"), row[side])
            if form == "pairs"
            else _conversation(row[side], f"pair{number}")
            for side in "ab"
        )
        await replayed.keep(CacheKey(kept, f"a{number:07x}"), kept_text, f"a{number}")
        await replayed.ask(asked, asked_text, f"a{number}" if same else f"b{number}", tally)
    return tally


def _shuffled(rows: Sequence[dict[str, Any]], order: random.Random) -> list[dict[str, Any]]:
    rows = list(rows)
    order.shuffle(rows)
    return rows


def _scope(options: Any, tenant: str) -> Scope:
    return Scope("bench", f"{crc32(f'{tenant}'.encode()):08x}{options.seed:08x}")


def _conversation(turns: Sequence[Mapping[str, Any]], tenant: str) -> tuple[Scope, str]:
    """Where a conversation's last question is looked up: the scope that serving gives it."""
    messages = tuple(Message(t["role"], t["content"], True, dict(t)) for t in turns)
    request = ChatRequest("m", messages, False, False, {"model": "m", "messages": [dict(t) for t in turns]})
    sharing = Sharing("m", "tenant", "", frozenset(), (), "e", "", "")
    return cache_keys(SECRET, Tenant(tenant), request, sharing).scope, request.question
