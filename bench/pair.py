"""`python -m bench pair`: two models of your own on labelled questions: the draft model alone, the big one alone, and
both as the gateway answers.

Every question is put to the draft model in its looks and to the big model, over the evidence that retrieval finds. Who
answers is then decided by the race that serves, with the draft there first and no time running out: so this tells how
good the answers are, not how fast. Without `--draft-url` and `--big-url` the stand-in provider answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import handbook
from bench.corpora import CORPORA, NOT_DOCUMENTS
from bench.gate import Server, configured, drawn
from bench.handbook import Question, Verdict
from bench.provider import PROFILES, ProviderConfig, Truths, running_provider
from bench.provider.truths import read_answers
from gateway.chat import Answer, AnswerEvent, CacheOutcome, ChatRequest, Closed, Delta, Evidence, Opened, Send, ServedBy
from gateway.clock import Deadline
from gateway.errors import GatewayError
from gateway.in_time import weighed_again
from gateway.routing import calibrating, gate
from gateway.routing.answerability import Answerability
from gateway.routing.doubting import Doubts
from gateway.routing.draft import Drafted
from gateway.routing.race import Result, Runners, Timing, race
from gateway.routing.spend import Allowance, Errand
from gateway.routing.told import tell
from gateway.routing.weighing import Scale
from gateway.settling import another_sample
from gateway.wiring.gating import Drafting, calibration_context, drafting
from gateway.wiring.ingesting import ingest_into

Tokens = tuple[tuple[str, float | None], ...]  # with their log-probabilities


@dataclass(frozen=True, slots=True)
class Row:
    """One question. Each of the three answers is right, wrong or refused (``bench.handbook.judge``)."""

    corpus: str
    group: str
    lang: str
    question: str
    answerable: bool
    looks: tuple[str, ...]  # what the draft model said in those that were done by the verdict
    draft_text: str
    draft: str
    veto: str
    score: float
    accepted: bool
    usable: bool
    found: bool  # its citations are not its own
    draft_tokens: Tokens
    values: tuple[float, ...]  # as ``gate.measures``; empty where vetoed
    big_text: str
    big: str
    big_tokens: Tokens
    again_tokens: Tokens  # of what it said when it was asked again, as far as that was heard; none where it was not
    by: str  # draft, big, or none: withheld
    given_text: str
    given: str
    draft_s: float
    big_s: float


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    kept = arguments.rows.read_text(encoding="utf-8").splitlines() if arguments.rows and arguments.rows.exists() else []
    rows = [read(line) for line in kept]
    if not arguments.report:
        rows = asyncio.run(_asked(arguments, rows))
    report = {
        "draft": arguments.draft_model if arguments.draft_url else arguments.draft_profile,
        "big": arguments.big_model if arguments.big_url else arguments.profile,
        "seed": arguments.seed,
        "top_k": arguments.top_k,
        "max_tokens": arguments.max_tokens,
        "embedder": arguments.embedder,
        **told(rows),
        "by_language": {
            lang: told([row for row in rows if row.lang == lang]) for lang in sorted({r.lang for r in rows})
        },
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 0


def told(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of these questions. Withheld counts as right where the documents have no answer."""
    samples = [calibrating.Sample(r.group, r.veto, r.values, r.draft == Verdict.RIGHT, r.found) for r in rows]
    found = calibrating.reported(samples, gate.shipped())
    accepted = [row for row in rows if row.accepted]
    refused = [row for row in rows if not row.accepted]
    return {
        "questions": len(rows),
        "unanswerable": sum(not row.answerable for row in rows),
        "draft_alone": _shares(row.draft for row in rows),
        "accepted": {"share": calibrating.share(row.accepted for row in rows), **_wrong(row.draft for row in accepted)},
        "accepted_or_label": {
            "share": calibrating.share(row.usable or row.accepted for row in rows),
            **_wrong(row.draft for row in rows if row.usable or row.accepted),
        },
        "vetoes": found["vetoes"],
        "refused_though_right": sum(row.draft == Verdict.RIGHT for row in refused),
        "citations_found": found["citations_found"],
        "auc": found["with_logprobs"].get("auc"),
        "big_alone": _shares(row.big for row in rows),
        "pair": {
            **_shares(row.given for row in rows),
            "withheld": sum(row.by == "none" for row in rows),
            "withheld_though_big_right": sum(row.by == "none" and row.big == Verdict.RIGHT for row in rows),
            "by": {who: _wrong(row.given for row in rows if row.by == who) for who in sorted({row.by for row in rows})},
        },
        "draft_s": _median(row.draft_s for row in rows),
        "big_s": _median(row.big_s for row in rows),
    }  # fmt: skip


def _shares(verdicts: Iterable[str]) -> dict[str, float]:
    found = list(verdicts)
    return {str(kind): calibrating.share(one == kind for one in found) for kind in Verdict} | _wrong(found)


def _wrong(verdicts: Iterable[str]) -> dict[str, Any]:
    """Wrong answers with the upper 95 % bound. A refusal is an answer that was not given, not a wrong one."""
    found = list(verdicts)
    wrong = found.count(Verdict.WRONG)
    return {"n": len(found), "wrong_n": wrong, "upper95": round(calibrating.upper_bound(wrong, len(found)), 4)}


def _median(values: Iterable[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None


def read(line: str) -> Row:
    """A line of ``--rows``."""
    raw = json.loads(line)
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Row(**known)


async def _asked(arguments: argparse.Namespace, kept: Sequence[Row]) -> list[Row]:
    """The corpora by turns, so that a run that is cut short has asked of all."""
    found, scale, known = list(kept), Scale(), {(row.corpus, row.question) for row in kept}
    async with _opened(arguments) as opened:
        turns = (
            (name, asked, questions[n])
            for n in range(max(len(questions) for _, questions in opened.values()))
            for name, (asked, questions) in opened.items()
            if n < len(questions) and (name, questions[n].text) not in known
        )

        async def ask() -> None:
            for name, asked, question in turns:
                try:
                    row = await _row(asked, name, question, scale, arguments)
                except GatewayError as error:
                    print(f"no answer to {question.id}: {error}", file=sys.stderr, flush=True)
                    continue
                found.append(row)
                if arguments.rows:
                    with arguments.rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")

        await asyncio.gather(*(ask() for _ in range(arguments.at_once)))
    return found


@asynccontextmanager
async def _opened(arguments: argparse.Namespace) -> AsyncIterator[dict[str, tuple[Drafting, list[Question]]]]:
    """Of each corpus the gateway over its documents, and the questions drawn."""
    files = [CORPORA[name].questions for name in arguments.corpora]
    stand_in = ProviderConfig(
        models={"draft": arguments.draft_profile, "big": arguments.profile},
        seed=arguments.seed, time_scale=0, calls_kept=1, truths=Truths(answers=read_answers(files)),
    )  # fmt: skip
    async with running_provider(stand_in) as provider, AsyncExitStack() as stack:
        drafts = Server(arguments.draft_url or provider.base_url, arguments.draft_model)
        answers = Server(arguments.big_url or provider.base_url, arguments.big_model)
        opened = {}
        for name in arguments.corpora:
            corpus = CORPORA[name]
            settings = configured(arguments, drafts, stack.enter_context(tempfile.TemporaryDirectory()), answers)
            await ingest_into(settings, "handbook", corpus.documents, (), (), NOT_DOCUMENTS, False, lambda _: None)
            questions = handbook.load(corpus.questions)
            drawn_ones = drawn(questions, arguments.sample or len(questions), arguments.seed)
            opened[name] = await stack.enter_async_context(drafting(settings, None)), drawn_ones
        yield opened


async def _row(asked: Drafting, corpus: str, question: Question, scale: Scale, arguments: argparse.Namespace) -> Row:
    """Raises GatewayError."""
    began = time.monotonic()
    evidence = await asked.evidence(question.text)
    answerability = asked.answerability(question.text, evidence, arguments.patience)
    answerability.begin()
    await answerability.known()
    drafted = await asked.draft(question.text, evidence, arguments.patience, answerability)
    drafted_at = time.monotonic()
    both = _Both(asked, question, evidence, drafted, arguments, scale, answerability)
    alone = await both.big()
    answerability.of(_text(alone))
    await answerability.known()
    alone_at = time.monotonic()
    result, given = await both.raced(alone)
    said, verdict = drafted.judged, drafted.verdict
    return Row(
        corpus=corpus, group=question.group, lang=question.lang, question=question.text,
        answerable=question.document is not None, looks=tuple(look.text for look in drafted.said),
        draft_text=said.text, draft=handbook.judge(question, said.text), veto=verdict.veto,
        score=verdict.score, accepted=verdict.accepted, usable=verdict.usable, found=said.found,
        draft_tokens=tuple(said.logprobs or ()),
        values=() if verdict.veto else gate.measures(said, question.text, evidence),
        big_text=_text(alone), big=handbook.judge(question, _text(alone)), 
        big_tokens=_tokens(alone), again_tokens=_tokens(both.again),
        by=result.committed, given_text=given, given=_given(question, result, given),
        draft_s=round(drafted_at - began, 2), big_s=round(alone_at - drafted_at, 2),
    )  # fmt: skip


def _given(question: Question, result: Result, text: str) -> Verdict:
    if result.committed == "none":
        return Verdict.REFUSED if question.document is not None else Verdict.RIGHT
    return handbook.judge(question, text)


@dataclass(slots=True)
class _Both:
    """One question between the two, as ``gateway.in_time`` has it."""

    asked: Drafting
    question: Question
    evidence: Evidence
    drafted: Drafted
    arguments: argparse.Namespace
    scale: Scale
    answerability: Answerability
    again: list[AnswerEvent] = field(default_factory=list)

    async def big(self) -> list[AnswerEvent]:
        """The big model's answer, whatever the draft is. Raises GatewayError."""
        events: list[AnswerEvent] = []
        await self._ask(self._request(), events.append)
        return events

    async def raced(self, alone: Sequence[AnswerEvent]) -> tuple[Result, str]:
        """Who answers, and what is given; ``alone`` is what the big model says when it is asked first."""
        doubts = Doubts(self.question.text, self.evidence, scale=self.scale, answerability=self.answerability)
        doubts.heard(self.drafted.said)
        doubts.judged(self.drafted.verdict)
        events: list[AnswerEvent] = []

        async def big(send: Send) -> None:
            for event in alone:
                send(event)

        async def draft(news: Callable[[], None]) -> Drafted:
            return self.drafted

        runners = Runners(
            big, draft, _tell_draft, ladder=(), background=lambda work: False,
            again=weighed_again(doubts, lambda: self._ask_again, lambda send: None),
        )  # fmt: skip
        never = Deadline.after(self.arguments.patience)
        result = await race(runners, Timing(None, self.arguments.patience), never, Allowance(0), events.append)
        return result, _text(events)

    async def _ask_again(self, send: Send) -> None:
        request = self._request()

        def hear(event: AnswerEvent) -> None:
            self.again.append(event)
            send(event)

        await self._ask(replace(request, body=another_sample({}, request.body, 1)), hear)

    def _request(self) -> ChatRequest:
        request = self.asked.over(self.question.text, None, self.evidence)
        body = {**request.body, "logprobs": True, "max_tokens": self.arguments.max_tokens}
        return replace(request, requested_model="big", body=body)

    async def _ask(self, request: ChatRequest, send: Send) -> Answer:
        opened, ctx = Opened(ServedBy.MODEL, CacheOutcome.MISS, "big"), calibration_context(self.arguments.patience)
        return await self.asked.pipeline.maker.router.stream(request, ctx, opened, send, Errand("answer", weighs=True))


def _tell_draft(drafted: Drafted, send: Send) -> None:
    tell(drafted.answer.text, Opened(ServedBy.DRAFT, CacheOutcome.MISS, "draft"), drafted.answer.usage, send)


def _text(events: Iterable[AnswerEvent]) -> str:
    return next((event.answer.text for event in events if isinstance(event, Closed)), "")


def _tokens(events: Iterable[AnswerEvent]) -> Tokens:
    return tuple((event.text, event.logprob) for event in events if isinstance(event, Delta) and event.text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench pair", description=__doc__)
    add = parser.add_argument
    add("--draft-url", default="", help="OpenAI-compatible server of the draft model (default: the stand-in)")
    add("--draft-model", default="draft", help="its name there (default draft)")
    add("--big-url", default="", help="the same of the big model")
    add("--big-model", default="big", help="its name there (default big)")
    add("--draft-profile", choices=[*PROFILES], default="gpt35-2023", help="of the stand-in (default gpt35-2023)")
    add("--profile", choices=[*PROFILES], default="gpt4o-2024", help="of its big model (default gpt4o-2024)")
    add("--corpora", nargs="+", choices=[*CORPORA], default=[*CORPORA], help="document sets and their questions")
    add("--sample", type=int, metavar="N", help="of each only N questions, each of another group (default: all groups)")
    add("--top-k", type=int, default=6, help="passages in a prompt (default 6)")
    add("--max-tokens", type=int, default=200, help="of an answer of the big model (default 200)")
    add("--embedder", choices=["auto", "local", "off"], default="auto", help="of the search (default: if installed)")
    add("--patience", type=float, default=600.0, help="seconds for one draft or answer (default 600)")
    add("--at-once", type=int, default=1, help="questions under way (default 1)")
    add("--rows", type=Path, metavar="FILE", help="keep each question's outcome; what is in it is not asked again")
    add("--report", action="store_true", help="ask nothing: the figures of --rows")
    add("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
