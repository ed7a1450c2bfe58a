"""`python -m bench doubts`: how well it is told whether the big model's answer is right, and by what weights.

Every question is answered by the draft model in its looks and by the big model, over the evidence that retrieval finds,
as the gateway does it. The weights of ``gateway/routing/doubting.py`` are fitted on all document sets but one and held
against that one, each in its turn, and then on all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench import handbook
from bench.corpora import CORPORA, NOT_DOCUMENTS, Corpus
from bench.gate import Server, configured
from bench.provider import ProviderConfig, Truths, running_provider
from bench.provider.truths import read_answers
from gateway.chat import AnswerEvent, CacheOutcome, Delta, Evidence, Opened, ServedBy
from gateway.facts import signature
from gateway.routing import calibrating
from gateway.routing.doubting import MOST_AGREE, SURE, WEIGHTS
from gateway.routing.spend import Errand
from gateway.routing.votes import votes_on
from gateway.samples import has_claim, lead_of
from gateway.wiring.gating import Drafting, Labelled, calibration_context, drafting
from gateway.wiring.ingesting import ingest_into

SIGNS = np.array([1.0, 1.0, -1.0, 0.0])


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of the big model to a question whose draft did not pass, by what is judged before it is given."""

    lowest: float
    agree: float
    refused: float
    refuses: bool
    right: bool


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    rows = {name: asyncio.run(_rows(CORPORA[name], arguments)) for name in CORPORA}
    report: dict[str, Any] = {"seed": arguments.seed, "asks": arguments.asks, "shipped": _listed(WEIGHTS), "held": {}}
    for name, held in rows.items():
        others = [row for other, found in rows.items() if other != name for row in found]
        report["held"][name] = {
            "answers": len(held),
            "wrong": calibrating.share(not row.right for row in held),
            "refusals": calibrating.share(row.refuses for row in held),
            **{kind: _told(held, _fitted(others, logprobs), logprobs) for kind, logprobs in _KINDS.items()},
        }
    everything = [row for found in rows.values() for row in found]
    report["fitted"] = _listed({logprobs: _fitted(everything, logprobs) for logprobs in (True, False)})
    print(json.dumps(report, indent=2))
    return 0


_KINDS = {"with_logprobs": True, "without_logprobs": False}


def _design(rows: Sequence[Row], logprobs: bool) -> tuple[calibrating.Floats, calibrating.Floats]:
    said = [row for row in rows if not row.refuses]
    x = np.array([[row.lowest if logprobs else 0.0, min(row.agree, MOST_AGREE), row.refused, 1.0] for row in said])
    return x, np.array([row.right for row in said], float)


def _fitted(rows: Sequence[Row], logprobs: bool) -> Sequence[float]:
    return [float(weight) for weight in calibrating.fit(*_design(rows, logprobs), SIGNS)]


def _told(rows: Sequence[Row], weights: Sequence[float], logprobs: bool) -> dict[str, float]:
    """Of answers that are no refusals: the area under the curve, and what a bar at ``SURE`` does."""
    x, right = _design(rows, logprobs)
    scores = 1 / (1 + np.exp(-(x @ np.array(weights))))
    sure = scores >= SURE
    return {
        "auc": round(calibrating.auc(scores, right), 3),
        "sure": calibrating.share(bool(s) for s in sure),
        "wrong_of_sure": calibrating.share(not r for r in right[sure]),
    }


def _listed(weights: Mapping[bool, Sequence[float]]) -> dict[str, list[float]]:
    return {kind: [round(weight, 2) for weight in weights[logprobs]] for kind, logprobs in _KINDS.items()}


async def _rows(corpus: Corpus, arguments: argparse.Namespace) -> list[Row]:
    questions = [
        Labelled(q.text, q.group, q.facts if q.document else (), q.wrong_facts) for q in handbook.load(corpus.questions)
    ]
    provider = ProviderConfig(
        models={"draft": arguments.draft_profile, "big": arguments.profile},
        seed=arguments.seed, time_scale=0, calls_kept=1, truths=Truths(answers=read_answers([corpus.questions])),
    )  # fmt: skip
    found = []
    with tempfile.TemporaryDirectory() as folder:
        async with running_provider(provider) as server:
            draft, big = (Server(server.base_url, name) for name in ("draft", "big"))
            settings = configured(arguments, draft, folder, big)
            await ingest_into(settings, "handbook", corpus.documents, (), (), NOT_DOCUMENTS, False, lambda _: None)
            async with drafting(settings, None) as asked:
                for question in questions:
                    evidence = await asked.evidence(question.text)
                    for number in range(arguments.asks):
                        if (row := await _row(asked, question, evidence, number)) is not None:
                            found.append(row)
    return found


async def _row(asked: Drafting, question: Labelled, evidence: Evidence, number: int) -> Row | None:
    """None where the draft passes: the big model is not needed then."""
    drafted = await asked.draft(question.text, evidence)
    if drafted.verdict.accepted:
        return None
    text, claim, lowest = "", "", 0.0

    def hear(event: AnswerEvent) -> None:
        nonlocal text, claim, lowest
        if isinstance(event, Delta):
            text += event.text
            if not has_claim(claim):
                claim, lowest = text, min(lowest, event.logprob or 0.0)

    request = asked.over(question.text, None, evidence)
    request = replace(request, requested_model="big", body={**request.body, "logprobs": True, "seed": number})
    opened = Opened(ServedBy.MODEL, CacheOutcome.MISS, "big")
    await asked.pipeline.maker.router.stream(
        request, calibration_context(), opened, hear, Errand("answer", weighs=True)
    )
    lead = lead_of(text)
    votes = votes_on(claim, [said.text for said in drafted.said if said.likely], evidence)
    return Row(lowest, votes.agree, votes.refused, signature(lead).refuses, question.right(lead))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench doubts", description=__doc__)
    parser.add_argument("--profile", default="gpt4o-2024", help="of the stand-in's big model (default gpt4o-2024)")
    parser.add_argument("--draft-profile", default="gpt35-2023", help="of its draft model (default gpt35-2023)")
    parser.add_argument("--asks", type=int, default=2, help="per question (default 2)")
    parser.add_argument("--embedder", choices=["auto", "local", "off"], default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.set_defaults(patience=60.0, top_k=6)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
