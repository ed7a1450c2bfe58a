"""`python -m bench gate`: calibrate the confidence gate on labelled questions, and say what it lets through.

Every question is asked of the draft model several times over the evidence that retrieval finds, as the gateway does it.
Weights are fitted and bars set on one part of the question groups; the rest, unseen, gives the reported figures.
`--shipped` fits nothing and reports what the calibration that the gateway ships with lets through; so it can be held
against a model that it was not made from, such as those of `python -m bench local-llm`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from bench import handbook
from bench.corpora import CORPORA, NOT_DOCUMENTS, Corpus
from bench.provider import PROFILES, ProviderConfig, running_provider
from bench.provider.config import PROFILE_FAULTS
from bench.provider.truths import Truths, read_answers
from gateway.routing import gate
from gateway.routing.calibrating import Sample, calibrated, reported
from gateway.settings import Settings
from gateway.wiring.gating import Labelled, sampled
from gateway.wiring.ingesting import ingest_into

Q = TypeVar("Q", Labelled, handbook.Question)
CALIBRATION = Path(gate.__file__).with_name("calibration.json")


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    began = time.monotonic()
    samples = asyncio.run(_of_corpora(arguments.corpora, arguments))
    told = {
        "seed": arguments.seed,
        "draft": arguments.model if arguments.base_url else arguments.profile,
        "uncited": arguments.uncited,
        "reader": arguments.reader,
        "asks": arguments.asks,
        "corpora": list(arguments.corpora),
        "embedder": arguments.embedder,
    }
    if arguments.shipped:
        print(json.dumps({**told, **reported(samples, gate.shipped()), "seconds": _since(began)}, indent=2))
        return 0
    made = calibrated(samples, arguments.max_wrong, arguments.seed, _source(arguments))
    if arguments.held:
        held = asyncio.run(_of_corpora(arguments.held, arguments))
        made.report["held"] = reported(held, gate.read_calibrations(json.dumps(made.calibration).encode()))
    if arguments.write:
        CALIBRATION.write_text(json.dumps(made.calibration, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    report = {**told, **made.report, "seconds": _since(began)}
    print(json.dumps({**report, "calibration": made.calibration} if arguments.json else report, indent=2))
    return 0


def drawn(questions: Sequence[Q], most: int, seed: int) -> list[Q]:
    """One question of each of ``most`` groups, drawn."""
    dice = Random(seed)
    groups: dict[str, list[Q]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    return [dice.choice(groups[group]) for group in dice.sample(sorted(groups), min(most, len(groups)))]


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


async def _of_corpora(names: Sequence[str], arguments: argparse.Namespace) -> list[Sample]:
    """Groups are told apart by the name of their corpus."""
    found: list[Sample] = []
    for name in names:
        corpus = CORPORA[name]
        questions = [
            Labelled(q.text, f"{name}/{q.group}", q.facts if q.document else (), q.wrong_facts)
            for q in handbook.load(corpus.questions)
        ]
        if arguments.sample:
            questions = drawn(questions, arguments.sample, arguments.seed)
        found += await collect(corpus, questions, arguments)
    return found


async def collect(corpus: Corpus, questions: Sequence[Labelled], arguments: argparse.Namespace) -> list[Sample]:
    faults = replace(PROFILE_FAULTS[arguments.profile], cites=not arguments.uncited)
    truths = Truths(answers=read_answers([corpus.questions])) if arguments.reader == "told" else None
    provider = ProviderConfig(
        models={"draft": arguments.profile},
        seed=arguments.seed,
        time_scale=0,
        calls_kept=1,
        faults=faults,
        truths=truths,
    )
    with tempfile.TemporaryDirectory() as folder:
        async with running_provider(provider) as server:
            drafts = Server(arguments.base_url or server.base_url, arguments.model)
            settings = configured(arguments, drafts, folder)
            await ingest_into(settings, "handbook", corpus.documents, (), (), NOT_DOCUMENTS, False, _quiet)
            return await sampled(settings, None, questions, arguments.asks, lambda: None, arguments.patience)


class Server(NamedTuple):
    url: str  # ends in /v1
    model: str  # its name there


def configured(arguments: argparse.Namespace, drafts: Server, folder: str, answers: Server | None = None) -> Settings:
    """A chatbot over one collection. Its models are "draft" and, where another one ``answers``, "big"."""
    timeouts = {"first_token_s": arguments.patience, "total_s": arguments.patience}

    def model(name: str, server: Server) -> dict[str, Any]:
        deployment = {"name": name, "base_url": server.url, "model": server.model, "api_key": "bench"}
        return {"name": name, "deployments": [deployment], "timeouts": timeouts}

    others = [model("big", answers)] if answers else []
    chatbot = {
        "name": "handbook", "answers_with": "big" if answers else "draft", "draft": {"model": "draft"},
        "documents": {"collections": ["handbook"], "soft_s": 5, "hard_s": 10, "top_k": arguments.top_k},
    }  # fmt: skip
    return Settings.model_validate(
        {
            "models": [model("draft", drafts), *others, chatbot],
            "documents": [{"name": "handbook"}],
            "cache": {"semantic": {"embedder": arguments.embedder}},
            "data_dir": folder,
        }
    )


def _quiet(_: Any) -> None: ...


def _source(arguments: argparse.Namespace) -> str:
    what = arguments.model if arguments.base_url else f"stand-in provider, profile {arguments.profile}"
    return (
        f"python -m bench gate --asks {arguments.asks} --seed {arguments.seed} --max-wrong {arguments.max_wrong:g}: "
        f"{what}, reader {arguments.reader}, {', '.join(arguments.corpora)}; "
        "60 % of the groups fitted, bars from 5-fold scores"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench gate", description=__doc__)
    add = parser.add_argument
    add("--profile", choices=[*PROFILES], default="gpt35-2023", help="draft model of the stand-in provider")
    add("--uncited", action="store_true", help="the stand-in writes no citations, as small real models do")
    add("--base-url", help="a real OpenAI-compatible server instead")
    add("--model", default="draft", help="its draft model")
    add("--corpora", nargs="+", choices=[*CORPORA], default=[*CORPORA], help="document sets and their questions")
    add("--held", nargs="+", choices=[*CORPORA], help="report also on these, of which nothing was fitted")
    add("--reader", choices=["told", "words"], default="told",
        help="how the stand-in reads: misreading at set rates, or by common words")  # fmt: skip
    add("--top-k", type=int, default=6, help="passages in a prompt (default 6)")
    add("--embedder", choices=["auto", "local", "off"], default="auto", help="of the search (default: if installed)")
    add("--sample", type=int, metavar="N", help="of each only N questions, each of another group (default: all)")
    add("--shipped", action="store_true", help="fit nothing: report what the shipped calibration lets through")
    add("--patience", type=float, default=60.0, help="seconds for one draft (default 60)")
    add("--asks", type=int, default=4, help="drafts per question (default 4)")
    add("--max-wrong", type=float, default=0.02, help="upper bound of wrong accepted drafts (default 0.02)")
    add("--seed", type=int, default=1)
    add("--write", action="store_true", help="replace the calibration that the gateway ships with")
    add("--json", action="store_true", help="print the calibration too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
