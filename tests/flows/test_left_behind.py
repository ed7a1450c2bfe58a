"""What is left of requests that are over, of whatever kind: nothing but what the cache keeps."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path

from bench import handbook
from bench.provider import Faults, ProviderConfig, running_provider
from bench.soak.traffic import load
from gateway.cache.inflight import Flight
from gateway.chat import Delta, RequestContext
from gateway.plan import Job
from tests.flows.house import fill, house, model, settings

OF_REQUESTS = (RequestContext, Job, Flight, Delta)
BIG, FAST = "gpt4o-2024", "mini-2025"


async def test_nothing_is_left_of_requests_that_are_over(tmp_path: Path) -> None:
    """The soak's traffic: hits, misses, relayed calls, callers that leave, mistakes, a provider that fails at times."""
    before = alive()  # constants of modules that other tests use
    config = ProviderConfig(models={"big": BIG, "fast": FAST}, seed=3, time_scale=0.2, failures=True, faults=Faults())
    async with running_provider(config) as upstream:
        models = (
            model("big", upstream.base_url, upstream.base_url, hedge={"min_s": 0.05}),
            model("fast", upstream.base_url),
            model("embeddings", upstream.base_url),
            {"name": "handbook", "answers_with": "big", "documents": {"collections": ["hr"]},
             "draft": {"model": "fast"}},
        )  # fmt: skip
        documents = [{"name": "hr"}]
        await fill(settings(tmp_path, *models, documents=documents), "hr", handbook.FOLDER)
        async with house(tmp_path, *models, documents=documents, cache={"semantic": {"embedder": "local"}}) as it:
            questions = [q for q in handbook.load() if q.document]
            counts = await load(f"http://127.0.0.1:{it.port}", questions, for_s=6.0, per_s=25.0, seed=3)
            assert {"leaves", "miss", "hit", "relayed", "wrong"} <= set(counts)
            async with asyncio.timeout(30):  # late answers are finished in the background
                while it.count("ocho_in_flight_requests") or alive() - before:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)


def alive() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OF_REQUESTS))
