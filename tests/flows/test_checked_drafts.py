"""Drafts that passed the gate, held against what the big model says, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.handbook import QUESTIONS, Verdict, judge, load
from bench.provider import Faults, Provider, ProviderConfig, Truths, running_provider
from bench.provider.truths import Gold, read_answers, squeezed
from tests.flows.house import House
from tests.flows.test_sure import over

FAULTLESS = Faults(phrasings=False)
QUESTION = next(q for q in load() if q.id == "leave-request-deadline-1")  # when to ask for leave
MISREAD = Truths(answers={squeezed(QUESTION.text): Gold((QUESTION.wrong_facts[:1],))})  # … to cancel it
TRUE = Truths(answers=read_answers([QUESTIONS]))


@asynccontextmanager
async def chatbot(folder: Path, draft: Truths, big: str = "gpt4o-2024") -> AsyncIterator[tuple[House, Provider]]:
    """Its draft model reads at once, and by ``draft``; its big model is what is yielded beside it."""
    quick = ProviderConfig(profile="instant", faults=FAULTLESS, truths=draft)
    careful = ProviderConfig(profile=big, faults=FAULTLESS, truths=TRUE)
    async with (
        running_provider(quick) as small,
        running_provider(careful) as provider,
        over(folder, small.base_url, provider.base_url) as it,
    ):
        yield it, provider


async def until(comes: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not comes():  # noqa: ASYNC110  a metric tells nobody
            await asyncio.sleep(0.02)


async def test_a_wrong_draft_is_given_once_and_then_what_the_big_model_says_twice(tmp_path: Path) -> None:
    async with chatbot(tmp_path, MISREAD) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook")
        assert (reply.headers["x-ocho-served-by"], judge(QUESTION, reply.text)) == ("draft", Verdict.WRONG)
        await until(lambda: bool(it.count("ocho_draft_checks_total", result="outvoted")))
        await until(lambda: it.count("ocho_cache_writes_total", result="kept") == 2)  # when its answer is whole
        again = await it.chat(QUESTION.text, "handbook")
        assert (again.headers["x-ocho-cache"], judge(QUESTION, again.text)) == ("exact", Verdict.RIGHT)
        assert len(provider.calls) == 2


async def test_a_right_draft_stays_and_costs_the_big_model_no_more_than_its_first_sentence(tmp_path: Path) -> None:
    async with chatbot(tmp_path, TRUE) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook")
        assert (reply.headers["x-ocho-served-by"], judge(QUESTION, reply.text)) == ("draft", Verdict.RIGHT)
        await provider.until(lambda calls: [call.cancelled for call in calls] == [True])
        assert it.count("ocho_draft_checks_total", result="agreed") == 1
        await it.kept()
        again = await it.chat(QUESTION.text, "handbook")
        assert (again.headers["x-ocho-cache"], again.text) == ("exact", reply.text)
