"""Steady mixed load: hits, misses, streams, callers that leave, mistakes. Open loop."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from bench.handbook import Question

# share of the arrivals, what they do
MIX = (
    (0.25, "hit"),  # one of a few popular questions
    (0.20, "rephrased"),  # any wording of the handbook's questions
    (0.20, "miss"),  # one of so many that it has expired meanwhile, mostly
    (0.10, "relayed"),  # a model without cache or documents
    (0.15, "leaves"),  # the caller hangs up, before or amid the answer
    (0.05, "wrong"),  # no such model, or no JSON
    (0.05, "embeddings"),
)
POPULAR = 12
OTHERS = 300  # questions that miss, over and over
AT_ONCE = 8  # before the load
PATIENCE_S = 60.0


async def each_once(gateway: str, questions: Sequence[Question], seed: int) -> int:
    """Ask every text that the load will ask, so that what is remembered of texts has all of them when it begins: what
    grows then leaks. Returns how many."""
    texts = list(dict.fromkeys([*(q.text for q in questions), *_others(questions, seed)]))
    waiting, counts = iter(texts), Counter[str]()

    async def ask(http: aiohttp.ClientSession) -> None:
        for text in waiting:
            await _one(http, "first", text, False, 0.0, counts)

    async with aiohttp.ClientSession(gateway) as http:
        await asyncio.gather(*(ask(http) for _ in range(AT_ONCE)))
    return len(texts)


async def load(gateway: str, questions: Sequence[Question], for_s: float, per_s: float, seed: int) -> Counter[str]:
    """What was asked and how it ended: counts of ``kind`` and of ``kind status``."""
    rng = random.Random(seed)
    others = _others(questions, seed)
    loop = asyncio.get_running_loop()
    counts: Counter[str] = Counter()
    popular = rng.sample(list(questions), min(POPULAR, len(questions)))
    due = loop.time()
    end = due + for_s
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15)
    async with aiohttp.ClientSession(gateway, connector=connector) as http, asyncio.TaskGroup() as group:
        while (due := due + rng.expovariate(per_s)) < end:
            await asyncio.sleep(max(0.0, due - loop.time()))
            (kind,) = rng.choices([name for _, name in MIX], [share for share, _ in MIX])
            text = rng.choice(popular if kind == "hit" else questions).text
            if kind in {"miss", "leaves"}:
                text = others[rng.randrange(OTHERS)]
            group.create_task(_one(http, kind, text, rng.random() < 0.5, rng.uniform(0.05, 1.5), counts))
    return counts


def _others(questions: Sequence[Question], seed: int) -> list[str]:
    rng = random.Random(seed)
    return [f"{rng.choice(questions).text} (문의 번호 {rng.randrange(10**9)})" for _ in range(OTHERS)]


async def _one(
    http: aiohttp.ClientSession, kind: str, text: str, stream: bool, leaves_after_s: float, counts: Counter[str]
) -> None:
    counts[kind] += 1
    path, model = "/v1/chat/completions", "handbook"
    body: object = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    if kind == "relayed":
        body = {"model": "fast", "messages": [{"role": "user", "content": f"{text} 2문장 이내로"}], "stream": stream}
    elif kind == "embeddings":
        path, body = "/v1/embeddings", {"model": "embeddings", "input": text}
    elif kind == "wrong":
        body = ["no", "object"] if stream else {"model": "no-such", "messages": [{"role": "user", "content": text}]}
    outcome = "left"
    with suppress(TimeoutError):
        async with asyncio.timeout(leaves_after_s if kind == "leaves" else PATIENCE_S):
            try:
                async with http.post(path, json=body) as reply:
                    await reply.read()
                    outcome = str(reply.status)
            except aiohttp.ClientError as error:
                outcome = type(error).__name__
    counts[f"{kind} {outcome}"] += 1
