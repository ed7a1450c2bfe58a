"""`python -m bench semantic-cache`: labelled questions as a stream through the serving classes.

Groups: questions in random order; a hit is right where the answer belongs to the same group. A miss is answered with
text that states the facts of its group, kept, and compared with near kept answers as serving does. Pairs: each in a
scope of its own, ``a`` kept, ``b`` asked. Conversations: the same, through the real keys. Identical questions are the
exact tier's and counted apart; groups that hold an identical question count as one.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from bench import questions
from bench.as_json import add_json, give_json, tables_aside
from bench.questions import Vectors
from gateway.cache.bounds import clopper_pearson_upper
from gateway.cache.calibrated import ANSWER_NOISE, AdaptiveRule, Calibration, rule_for, shipped
from gateway.cache.decision import Decision, Rule, StrictRule, plain
from gateway.cache.keys import Keys, Sharing, cache_keys
from gateway.cache.language import language
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
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
from gateway.ports import AnswerStore, Doubt, QuestionIndex, Ruling, Vector

SECRET = b"of the bench"
NOBODY = RequestContext("", Tenant(""), Deadline(float("inf")), CacheWishes(), Timings())
PEERS = {  # fixed similarities that other caches come with, as their documentation or code has them
    0.8: "GPTCache, vLLM semantic router",
    0.9: "RedisVL, Kong examples",
    0.95: "APISIX",
}
Stores = tuple[AnswerStore, QuestionIndex]


@dataclass(frozen=True, slots=True)
class Threshold:
    """What most semantic caches do: the nearest question above a fixed similarity answers."""

    min_similarity: float
    candidates: int = 1

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        if neighbors and neighbors[0].similarity >= self.min_similarity:
            return Decision(neighbors[0], "")
        return Decision(None, "nothing near")

    def chance(self, asked: str, neighbors: Sequence[Neighbor], key: CacheKey) -> None:
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
            "p50_ms": round(float(np.percentile(milliseconds, 50)), 3),
            "p99_ms": round(float(np.percentile(milliseconds, 99)), 3),
        }


class TruthJudge:
    """A judge that knows the groups; a share of its verdicts (``noise``) is the opposite."""

    def __init__(self, noise: float, chance: random.Random) -> None:
        self.meanings: dict[str, str] = {}
        self.asked = 0
        self._noise = noise
        self._chance = chance

    def earn(self, cost: float) -> None:
        """It costs nothing."""

    def learn(self, margin: float, right: bool) -> None:
        """It learns nothing."""

    async def rule(self, doubt: Doubt, ctx: RequestContext) -> Ruling:
        self.asked += 1
        same = self.meanings[doubt.asked] == self.meanings[doubt.kept]
        return Ruling(same != (self._chance.random() < self._noise), 1.0)


class Replay:
    """One stream through the semantic tier with one rule, and with a judge of what it cannot tell."""

    def __init__(
        self,
        vectors: Vectors,
        rule: Rule,
        stores: Stores,
        chance: random.Random,
        noise: float,
        judge: TruthJudge | None = None,
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
            hit = await self._judged(question, group, look.doubts)
        wrong = hit is not None and self._group_of[hit.entry.key] != group
        tally.count(hit is not None, wrong, seconds, late)
        if hit is None:
            await self.keep(key, question, group)

    async def _judged(self, question: str, group: str, doubts: Sequence[Doubtful]) -> CacheHit | None:
        """As serving asks: a yes is a hit, and its question an alias."""
        assert self._judge is not None
        self._judge.meanings[question] = group
        found = await Consultant(self._judge, lambda: 1.0).consult(question, doubts, (), NOBODY)
        if found is None or found.hit is None:
            return None
        entry = found.hit.entry
        await self._index.add(CachedQuestion(question, entry.key), await self._vectors.of(question), entry.ttl_s)
        return found.hit

    async def keep(self, key: CacheKey, question: str, group: str) -> None:
        """Answer a miss and keep it as the writer does."""
        self._seen.add((key.scope, plain(question)))
        self._group_of[key] = group
        if self._judge is not None:
            self._judge.meanings[question] = group
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


async def replay(rows: list[dict[str, Any]], vectors: Vectors, rule: Rule, stores: Stores, options: Any) -> Tally:
    tally, order = Tally(), random.Random(options.seed)
    judge = TruthJudge(options.judge, random.Random(options.seed)) if options.judge is not None else None
    replayed = Replay(vectors, rule, stores, order, options.noise, judge)
    form = questions.kind(rows)
    if form == "groups":
        rows = rows[:]
        order.shuffle(rows)
        for number, row in enumerate(rows):
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


def _scope(options: Any, tenant: str) -> Scope:
    return Scope("bench", f"{crc32(f'{tenant}'.encode()):08x}{options.seed:08x}")


def _conversation(turns: Sequence[Mapping[str, Any]], tenant: str) -> tuple[Scope, str]:
    """Where a conversation's last question is looked up: the scope that serving gives it."""
    messages = tuple(Message(t["role"], t["content"], True, dict(t)) for t in turns)
    request = ChatRequest("m", messages, False, False, {"model": "m", "messages": [dict(t) for t in turns]})
    sharing = Sharing("m", "tenant", "", frozenset(), (), "e", "", "")
    return cache_keys(SECRET, Tenant(tenant), request, sharing).scope, request.question


@asynccontextmanager
async def opened(store: str) -> AsyncIterator[Stores]:
    """Empty stores; for "redis" on a server of their own."""
    if store == "memory":
        yield MemoryStore(4 << 30), MemoryIndex(200_000, 20_000)
        return
    from tests.redis_server import redis_server

    with redis_server() as server:
        client = redis_client(server.url, timeout_s=2.0)
        link = RedisLink(client, timeout_s=2.0)
        yield RedisStore(link, SECRET), RedisIndex(link, SECRET, max_ttl_s=1e6)
        await client.aclose()


async def latency(entries: int, store: str, rule: Rule, seed: int, lookups: int = 300) -> dict[str, Any]:
    """Lookups in one scope of ``entries`` made-up questions: search, decision and fetch, without embedding."""
    made = np.random.default_rng(seed)
    topics = made.normal(size=(max(1, entries // 10), 384))
    async with opened(store) as (answers, index):
        scope = Scope("bench", "00")
        rows = topics[made.integers(len(topics), size=entries)] + made.normal(scale=0.3, size=(entries, 384))
        rows = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
        choice = {"index": 0, "message": {"role": "assistant", "content": "15일입니다."}, "finish_reason": "stop"}
        for number, row in enumerate(rows):
            question, made_key = f"휴가 {number}일은 어떻게 쓰나요?", CacheKey(scope, f"{number:08x}")
            entry = CacheEntry(made_key, question, Answer((choice,), "m"), "m", time.time(), 1e6)
            await answers.put(entry)
            await index.add(CachedQuestion(question, made_key), row, 1e6)
        cache = SemanticCache(answers, index, rule=rule)
        tally = Tally()
        for number in made.integers(entries, size=lookups + 20):
            asked: Vector = rows[number]

            async def vector(asked: Vector = asked) -> Vector | None:
                return asked

            began = time.perf_counter()
            keys = Keys(CacheKey(scope, "none"), True)
            hit = await cache.lookup(keys, f"휴가  {number}일은 어떻게 쓰나요", vector(), None, CacheWishes())
            tally.count(hit is not None, False, time.perf_counter() - began, False)
        tally.seconds = tally.seconds[20:]
        row = tally.row("")
        return {
            "entries": entries,
            "store": store,
            "hits": tally.hits,
            "p50_ms": row["p50_ms"],
            "p99_ms": row["p99_ms"],
        }


def served_rule(options: Any, embedder: str) -> Rule:
    """The rule that serving takes, with its chance seeded."""
    if options.rule == "strict":
        return StrictRule()
    data = options.calibration.read_bytes() if options.calibration else None
    calibration = Calibration.load(data) if data is not None else shipped(embedder)
    if calibration is None:
        return rule_for(embedder, options.max_wrong)
    chance = random.Random(options.seed).random
    return AdaptiveRule(
        calibration, options.max_wrong, answer_noise=options.answer_noise, chance=chance, max_scopes=20_000
    )


async def run(options: argparse.Namespace) -> dict[str, Any]:
    embedder = questions.local_embedder(options.threads)
    vectors = Vectors(embedder, options.vectors)
    rules: dict[str, Callable[[], Rule]] = {"ocho": lambda: served_rule(options, embedder.model)}
    for level in options.thresholds:
        name = f"cosine {level:g}" + (f" ({PEERS[level]})" if level in PEERS else "")
        rules[name] = partial(Threshold, level)
    stores = ("memory", "redis") if options.store == "both" else (options.store,)
    report: dict[str, Any] = {
        "command": "semantic-cache", "seed": options.seed, "rule": options.rule, "noise": options.noise,
        "judge": options.judge,
        "calibration": options.calibration.name if options.calibration else "shipped",
        "embedder": embedder.model, "max_wrong": options.max_wrong, "python": platform.python_version(),
        "store": options.store, "files": [], "thresholds": {}, "latency": [],
    }  # fmt: skip
    for path in options.data:
        rows = questions.read(path)
        form = questions.kind(rows)
        if options.groups and form == "groups":
            groups = sorted({row["g"] for row in rows})
            chosen = set(random.Random(options.seed).sample(groups, min(options.groups, len(groups))))
            rows = [row for row in rows if row["g"] in chosen]
        if options.questions and form == "groups" and options.questions < len(rows):
            rows = random.Random(options.seed).sample(rows, options.questions)
        if form == "other":
            print(f"{path.stem:28} has neither groups nor pairs: left out", flush=True)
            continue
        told = (
            [turn[-1]["content"] for row in rows for turn in (row["a"], row["b"])] if form == "conversations" else None
        )
        await vectors.load(told or questions.texts(rows))
        tenants = {row.get("tenant") for row in rows}
        if len(tenants) > 1:
            print(f"{path.stem:28} {len(tenants)} tenants, by its labels: each in a scope of its own", flush=True)
        for store in stores:
            for name, make in rules.items():
                if name != "ocho" and store != stores[0]:
                    continue
                async with opened(store) as opened_stores:
                    tally = await replay(rows, vectors, make(), opened_stores, options)
                row = tally.row(path.name) | ({"store": store} if len(stores) > 1 else {})
                (report["files"] if name == "ocho" else report["thresholds"].setdefault(name, [])).append(row)
                print(_line(path.stem, f"{name} {store}" if len(stores) > 1 else name, row), flush=True)
    for store in stores:
        for entries in options.entries:
            found = await latency(entries, store, StrictRule(), options.seed)
            report["latency"].append(found)
            print(
                f"{entries:8} entries, {store:6}: p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms",
                flush=True,
            )
    return report


def _line(file: str, name: str, row: Mapping[str, Any]) -> str:
    return (
        f"{file:24} {name:40} lookups {row['lookups']:6} exact {row['exact_hit_rate']:.3f} hit {row['hit_rate']:.3f} "
        f"(second half {row['second_half_hit_rate']:.3f}) wrong {row['wrong_hit_rate']:.4f} (≤ {row['upper95']:.4f}) "
        f"unsafe {row['unsafe_rate']:.4f} p50 {row['p50_ms']:.2f} p99 {row['p99_ms']:.2f} ms"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench semantic-cache", description=__doc__)
    parser.add_argument("--data", nargs="*", type=Path, default=[], help="*_groups, *_pairs, *_conversations .jsonl")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rule", choices=("strict", "calibrated"), default="calibrated", help="calibrated is served")
    parser.add_argument("--calibration", type=Path, help="instead of the shipped one")
    parser.add_argument("--max-wrong", type=float, default=0.01)
    parser.add_argument("--answer-noise", type=float, default=ANSWER_NOISE, help="what the rule takes --noise to be")
    parser.add_argument("--noise", type=float, default=0.0, help="share of answers that state other facts")
    parser.add_argument(
        "--judge", type=float, help="ask a judge that knows the groups, with this share of wrong verdicts"
    )
    parser.add_argument("--store", choices=("memory", "redis", "both"), default="memory")
    parser.add_argument("--groups", type=int, default=0, help="only so many groups of a file, chosen by the seed")
    parser.add_argument("--questions", type=int, default=0, help="… and only so many questions of these groups")
    parser.add_argument("--entries", nargs="*", type=int, default=[], help="also time lookups in scopes of these sizes")
    parser.add_argument("--threads", type=int, default=0, help="of the embedder")
    parser.add_argument("--thresholds", nargs="*", type=float, default=[0.8, 0.9, 0.95])
    parser.add_argument("--vectors", type=Path, help="keep the embeddings in this .npz between runs")
    add_json(parser)
    options = parser.parse_args(arguments)
    with tables_aside(options.json):
        report = asyncio.run(run(options))
    give_json(report, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
