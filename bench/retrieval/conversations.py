"""Do follow-ups find their documents? Those of a document set, also inside longer conversations.

Kinds: ``follow_up`` as written; ``after_other`` with another subject before; ``after_thanks`` and
``after_two_follow_ups`` with turns between subject and follow-up that name none; ``new_subject`` and
``new_subject_2``: a question that stands alone, after one or two other subjects.

Ways to search: ``own_words`` of the last turn alone; ``two_turns``, it and the two user turns before it;
``searched``, what the gateway searches for; and that joined with the search for what the follow-up means, as its
author wrote it (``rewritten``) and as a model does (``rewritten_live``).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam
from rich.table import Table

from bench import handbook
from bench.corpora import Corpus
from bench.retrieval.asking import embedded, given
from bench.retrieval.corpus import FOREVER_S
from gateway.chat import ChatRequest, Message, Passage
from gateway.clock import Deadline
from gateway.ports import Embedder
from gateway.retrieval.gather import Found, Gatherer, joined
from gateway.retrieval.question import besides, follows_up, search_text
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from gateway.routing.rewriting import MOST_TOKENS, prompt, stand_alone

THANKS = {
    "ko": ("네, 감사합니다.", "더 궁금한 점이 있으면 말씀해 주세요."),
    "en": ("Thanks!", "You're welcome."),
}
SAME_FOR_ALL = {
    "ko": ("그건 모든 부서에 똑같이 적용되나요?", "네, 똑같이 적용됩니다."),
    "en": ("Is that the same for every team?", "Yes, it is."),
}
NEW_SUBJECTS = 200  # questions of each of the two kinds that stand alone

Turns = tuple[tuple[str, str], ...]  # (role, text)
Find = Callable[[str], Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class Conversation:
    kind: str
    turns: Turns
    question: str
    means: str  # the same as a question that stands alone
    document: str

    @property
    def request(self) -> ChatRequest:
        said = [*self.turns, ("user", self.question)]
        return ChatRequest("", tuple(Message(role, text, True, {}) for role, text in said), False, False, {})


def conversations(seed: int, corpus: Corpus) -> list[Conversation]:
    chance = random.Random(seed)
    questions = [q for q in handbook.load(corpus.questions) if q.document]
    means = {row["id"]: row["means"] for row in map(json.loads, corpus.follow_ups.read_text("utf-8").splitlines())}

    def other(question: handbook.Question) -> Turns:
        one = chance.choice([q for q in questions if q.document != question.document and q.lang == question.lang])
        return _exchange(one.text, one.facts[0][0])

    found = []
    for q in handbook.load(corpus.follow_ups):
        thanks, more = _exchange(*THANKS[q.lang]), _exchange(*SAME_FOR_ALL[q.lang])
        kinds = {
            "follow_up": q.turns, "after_other": other(q) + q.turns, "after_thanks": q.turns + thanks + thanks,
            "after_two_follow_ups": q.turns + more + more,
        }  # fmt: skip
        found += [Conversation(kind, turns, q.text, means[q.id], str(q.document)) for kind, turns in kinds.items()]
    for q in chance.sample(questions, min(NEW_SUBJECTS, len(questions))):
        for kind, turns in {"new_subject": other(q), "new_subject_2": other(q) + other(q)}.items():
            found.append(Conversation(kind, turns, q.text, q.text, str(q.document)))
    return found


def _exchange(question: str, answer: str) -> Turns:
    return (("user", question), ("assistant", answer))


class Live:
    """A model that rewrites, asked as the gateway asks it."""

    def __init__(self, url: str, model: str) -> None:
        self._client = AsyncOpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "bench"))
        self.model = model
        self.seconds: list[float] = []

    async def rewritten(self, request: ChatRequest) -> str | None:
        began = time.perf_counter()
        messages = cast(list[ChatCompletionMessageParam], prompt(request))
        reply = await self._client.chat.completions.create(
            model=self.model, messages=messages, max_tokens=MOST_TOKENS, temperature=0, seed=1
        )
        self.seconds.append(time.perf_counter() - began)
        return stand_alone(reply.choices[0].message.content or "", request.question)


async def measure(
    record: Record, collection: str, embedder: Embedder | None, seed: int, corpus: Corpus, live: Live | None = None
) -> dict[str, Any]:
    """Recall and MRR per kind of conversation and way to search."""
    source = EmbeddedSource(collection, record, model=embedder.model if embedder is not None else None)
    gatherer = Gatherer({collection: source}, record, hard_s=FOREVER_S)

    async def find(text: str) -> Found:
        vector, _ = await embedded(embedder, text)
        return await gatherer.find(text, frozenset(), [collection], given(vector), Deadline.after(FOREVER_S))

    ranks: defaultdict[str, defaultdict[str, list[int | None]]] = defaultdict(lambda: defaultdict(list))
    leaning: defaultdict[str, int] = defaultdict(int)
    for talk in conversations(seed, corpus):
        for way, passages in (await _ways(talk, gatherer, find, live)).items():
            ranks[talk.kind][way].append(_rank(talk.document, passages))
        leaning[talk.kind] += follows_up(talk.request)
    await source.close()
    result: dict[str, Any] = {
        kind: {"asked": len(ways["own_words"]), "taken_for_follow_ups": leaning[kind],
               **{way: _figures(found) for way, found in ways.items()}}
        for kind, ways in ranks.items()
    }  # fmt: skip
    if live is not None:
        result["rewriting"] = {
            "model": live.model, "calls": len(live.seconds),
            **{f"p{p}_s": round(float(np.percentile(live.seconds, p)), 3) for p in (50, 95)},
        }  # fmt: skip
    return result


async def _ways(talk: Conversation, gatherer: Gatherer, find: Find, live: Live | None) -> dict[str, Sequence[Passage]]:
    users = [text for role, text in talk.turns if role == "user"]
    found, other = await find(search_text(talk.request)), besides(talk.request)
    own = (gatherer.both(found, await find(other)) if other else found).ranked
    ways = {
        "own_words": (await find(talk.question)).ranked,
        "two_turns": (await find("\n".join([*users[-2:], talk.question]))).ranked,
        "searched": own,
    }
    rewrites = follows_up(talk.request)
    ways["rewritten"] = joined(own, (await find(talk.means)).ranked) if rewrites else own
    if live is not None:
        meant = await live.rewritten(talk.request) if rewrites else None
        ways["rewritten_live"] = joined(own, (await find(meant)).ranked) if meant else own
    return ways


def _rank(document: str, passages: Sequence[Passage]) -> int | None:
    return next((n for n, passage in enumerate(passages, 1) if passage.document == document), None)


def _figures(ranks: Sequence[int | None]) -> dict[str, float]:
    shares = {f"recall_at_{k}": sum(r is not None and r <= k for r in ranks) / len(ranks) for k in (1, 3, 5, 10)}
    shares["mrr"] = sum(1 / r for r in ranks if r) / len(ranks)
    return {name: round(value, 4) for name, value in shares.items()}


def table(result: dict[str, Any]) -> Table:
    made = Table(title="follow-ups")
    for column in ("", "searched by", "R@1", "R@3", "R@5", "R@10", "MRR"):
        made.add_column(column, justify="left" if column in {"", "searched by"} else "right", no_wrap=True)
    for kind, ways in result.items():
        name = kind
        for way, figures in ways.items():
            if isinstance(figures, dict):
                made.add_row(name, way, *(f"{value:.3f}" for value in figures.values()))
                name = ""
    return made
