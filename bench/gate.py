"""`python -m bench gate`: calibrate the confidence gate on labelled questions, and say what it lets through.

Every question is asked of the draft model several times over the evidence that retrieval finds. Weights are fitted and
bars set on one part of the question groups; the rest, unseen, gives the figures that are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from bench import handbook
from bench.handbook import Question, Verdict
from bench.provider import PROFILES, ProviderConfig, running_provider
from gateway.chat import CacheWishes, ChatRequest, Deployment, Evidence, Message, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.ports import Vector
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.grounding import ground
from gateway.retrieval.ingest.ingest import ingest
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from gateway.routing import gate
from gateway.routing.deployments import Deployments
from gateway.routing.draft import Drafter, logprobs_of
from gateway.routing.router import Route, Router
from gateway.wiring.upstreams import opened_upstream

CALIBRATION = Path(gate.__file__).with_name("calibration.json")
CONFIDENCE = 0.95
FOLDS = 5
RIDGE = 1.0  # pull of the weights towards 0, in samples
USABLE = 0.50  # labelled quick answers: more likely right than not
SURE_WRONG = 0.01

SIGNS = tuple({"rival": -1.0, "length": -1.0}.get(measure, 1.0) for measure in gate.MEASURES)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """One draft: measured, vetoed or not, right or not."""

    group: str
    veto: str
    values: tuple[float, ...]  # empty where vetoed
    right: bool


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    began = time.monotonic()
    questions = handbook.load(arguments.questions)
    samples = asyncio.run(collect(questions, arguments.documents, arguments))
    fitted, held = split(samples, arguments.seed)
    report: dict[str, object] = {
        "seed": arguments.seed, "profile": arguments.profile, "asks": arguments.asks, "questions": len(questions),
        "fitted_on": len(fitted), "held_out": len(held), "bound": arguments.max_wrong,
        "draft_alone_wrong": share(not s.right for s in held),
        "vetoes": dict(Counter(s.veto for s in samples if s.veto).most_common()),
        "vetoed_right": share(s.right for s in samples if s.veto),
    }  # fmt: skip
    calibration: dict[str, object] = {"source": _source(arguments), "measures": gate.MEASURES}
    for name, first, bound in (
        ("with_logprobs", 0, arguments.max_wrong),
        ("without_logprobs", 2, arguments.max_wrong / 2),
    ):
        weights, bars = calibrate(fitted, first, bound)
        calibration[name] = {"weights": [round(w, 4) for w in weights], **{k: round(v, 4) for k, v in bars.items()}}
        report[name] = judged(held, first, weights, bars)
    if arguments.write:
        CALIBRATION.write_text(json.dumps(calibration, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    report["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps({**report, "calibration": calibration} if arguments.json else report, indent=2))
    return 0


async def collect(questions: Sequence[Question], documents: Path, arguments: argparse.Namespace) -> list[Sample]:
    samples: list[Sample] = []
    provider = ProviderConfig(models={"draft": arguments.profile}, seed=arguments.seed, time_scale=0, calls_kept=1)
    with tempfile.TemporaryDirectory() as folder:
        record = Record.open(Path(folder) / "documents.db")
        await ingest(record, "handbook", [documents], exclude=("README.md", "questions.jsonl"))
        source = EmbeddedSource("handbook", record, model=None)
        gatherer = Gatherer({"handbook": source}, record, soft_s=5, hard_s=10)
        async with running_provider(provider) as server, opened_upstream() as upstream:
            deployment = Deployment("draft", "openai", arguments.base_url or server.base_url, arguments.model)
            router = Router(
                {"draft": Route(("draft",))},
                Deployments((deployment,), time.monotonic),
                upstream,
                Metrics(),
            )
            drafter = Drafter(router, Metrics())
            for question in questions:
                evidence = await gatherer.gather(
                    question.text, frozenset(), ("handbook",), _no_vector, Deadline.after(20)
                )
                for _ in range(arguments.asks):
                    with suppress(GatewayError):
                        samples.append(await _sample(drafter, question, evidence))
        await source.close()
        record.close()
    return samples


async def _sample(drafter: Drafter, question: Question, evidence: Evidence) -> Sample:
    raw = {"role": "user", "content": question.text}
    request = ChatRequest("draft", (Message("user", question.text, True, raw),), False, False, {"messages": [raw]})
    grounded = ChatRequest("draft", request.messages, False, False, ground(request, evidence))
    ctx = RequestContext("bench", Tenant("bench"), Deadline.after(60), CacheWishes(), Timings())
    drafted = await drafter.draft("draft", 160, grounded, evidence, ctx)
    draft = gate.Draft(drafted.answer.text, drafted.answer.finish_reason, logprobs_of(drafted.answer))
    veto = drafted.verdict.veto
    values = () if veto else gate.measures(draft, question.text, evidence)
    return Sample(question.group, veto, values, handbook.judge(question, draft.text) is Verdict.RIGHT)


def split(samples: Sequence[Sample], seed: int) -> tuple[list[Sample], list[Sample]]:
    """60 % of the groups for fitting, the rest held out."""
    groups = sorted({s.group for s in samples})
    Random(seed).shuffle(groups)
    chosen = set(groups[: int(0.6 * len(groups))])
    return [s for s in samples if s.group in chosen], [s for s in samples if s.group not in chosen]


def calibrate(samples: Sequence[Sample], first: int, max_wrong: float) -> tuple[Floats, dict[str, float]]:
    """Weights on all samples; bars on scores that each sample got from weights fitted without its group."""
    kept = [s for s in samples if s.values]
    x, y = _design(kept, first), np.array([s.right for s in kept], float)
    groups = sorted({s.group for s in kept})
    fold = {group: index % FOLDS for index, group in enumerate(groups)}
    folds = np.array([fold[s.group] for s in kept])
    scores = np.zeros(len(kept))
    for k in range(FOLDS):
        scores[folds == k] = _probability(x[folds == k], fit(x[folds != k], y[folds != k]))
    accept = bar(scores, y, max_wrong)
    return fit(x, y), {"accept": accept, "usable": min(USABLE, accept), "sure": max(accept, bar(scores, y, SURE_WRONG))}


def fit(x: Floats, y: Floats) -> Floats:
    """Weights that point the way they must: what speaks for a draft in one set of questions and against it in reason
    is chance, and left out."""
    signs = np.array([*SIGNS[len(SIGNS) - x.shape[1] + 1 :], 0.0])
    used = np.ones(x.shape[1], bool)
    while True:
        weights = np.zeros(x.shape[1])
        weights[used] = _fit(x[:, used], y)
        against = weights * signs
        if against.min() >= 0:
            return weights
        used[int(against.argmin())] = False


def _fit(x: Floats, y: Floats) -> Floats:
    """Logistic regression by Newton's method, ridge on all but the constant (the last)."""
    weights = np.zeros(x.shape[1])
    penalty = RIDGE * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-6
    for _ in range(50):
        p = _probability(x, weights)
        gradient = x.T @ (y - p) - penalty @ weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def bar(scores: Floats, right: Floats, max_wrong: float) -> float:
    """The lowest score above which at most ``max_wrong`` are wrong, by the upper confidence bound; 0.999 where none."""
    best = 0.999
    for candidate in np.unique(np.round(scores, 3))[::-1]:
        taken = scores >= candidate
        wrong = int((1 - right[taken]).sum())
        if upper_bound(wrong, int(taken.sum())) <= max_wrong:
            best = float(candidate)
    return min(best, 0.999)


def upper_bound(wrong: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Clopper and Pearson's one-sided upper bound of a share."""
    if n == 0 or wrong >= n:
        return 1.0
    low, high = wrong / n, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _at_most(wrong, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def judged(samples: Sequence[Sample], first: int, weights: Floats, bars: dict[str, float]) -> dict[str, object]:
    """What the gate does to drafts it has not been fitted on."""
    kept = [s for s in samples if s.values]
    scores = _probability(_design(kept, first), weights)
    right = np.array([s.right for s in kept], float)
    found: dict[str, object] = {"auc": round(auc(scores, right), 4)}
    for name, value in bars.items():
        taken = scores >= value
        wrong, n = int((1 - right[taken]).sum()), int(taken.sum())
        found[name] = {
            "bar": round(value, 4), "share": round(n / len(samples), 4), "wrong": round(wrong / n, 4) if n else None,
            "wrong_upper": round(upper_bound(wrong, n), 4),
        }  # fmt: skip
    return found


def auc(scores: Floats, right: Floats) -> float:
    good, bad = scores[right == 1], scores[right == 0]
    if not len(good) or not len(bad):
        return float("nan")
    return float((good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean())


def share(values: object) -> float:
    found = list(values)  # type: ignore[call-overload]
    return round(sum(found) / len(found), 4) if found else 0.0


def _at_most(k: int, n: int, p: float) -> float:
    """P(at most k of n) at probability p."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    return math.fsum(math.exp(value) for value in logs)


def _design(samples: Sequence[Sample], first: int) -> Floats:
    return np.array([[*s.values[first:], 1.0] for s in samples])


def _probability(x: Floats, weights: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(x @ weights, -40, 40)))
    return found


async def _no_vector() -> Vector | None:
    return None


def _source(arguments: argparse.Namespace) -> str:
    what = arguments.model if arguments.base_url else f"stand-in provider, profile {arguments.profile}"
    return (
        f"python -m bench gate --asks {arguments.asks} --seed {arguments.seed} --max-wrong {arguments.max_wrong:g}: "
        f"{what}, "
        f"{arguments.questions.name} of the sample handbook; 60 % of the groups fitted, bars from {FOLDS}-fold scores"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench gate", description=__doc__)
    add = parser.add_argument
    add("--profile", choices=[*PROFILES], default="gpt35-2023", help="draft model of the stand-in provider")
    add("--base-url", help="a real OpenAI-compatible server instead")
    add("--model", default="draft", help="its draft model")
    add("--questions", type=Path, default=handbook.FOLDER / "questions.jsonl")
    add("--documents", type=Path, default=handbook.FOLDER)
    add("--asks", type=int, default=4, help="drafts per question (default 4)")
    add("--max-wrong", type=float, default=0.02, help="upper bound of wrong accepted drafts (default 0.02)")
    add("--seed", type=int, default=1)
    add("--write", action="store_true", help="replace the calibration that the gateway ships with")
    add("--json", action="store_true", help="print the calibration too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
