"""Options, the run, the table. `--json` gives ``direct`` and ``ocho``; everything else is beside them."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import servers
from bench.as_json import add_json, give_json, tables_aside
from bench.consistency import run
from bench.consistency.evidence import evidence_figures
from bench.consistency.figures import Asked, after_changes, figures
from bench.consistency.groups import Corpus, changes, labelled_corpus, shipped_corpus
from bench.consistency.page import page
from bench.corpora import CORPORA
from bench.local_llm import BIG, FAST, running_local_llms
from bench.provider import Faults, ProviderConfig, running_provider
from bench.provider.config import CAREFUL, CARELESS
from bench.provider.truths import Gold, Truths, squeezed
from gateway.logs import configure_logs

# 20 % of the answers have something wrong with them: what a hurried model of 2023 gave (see bench/provider/config.py).
SHAKY = Faults(0.14, 0.03, 0.01, 0.02, misreads=0.05, honesty=0.6)
UPSTREAMS = {"shaky": SHAKY, "careful": CAREFUL, "careless": CARELESS}
KEYS = ("tarr_10", "tara_10", "paraphrase_agreement", "correct", "flips_per_1000", "justified_changes", "stale_serves")
console = Console(stderr=True)


def main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    configure_logs("error")  # the gateway runs in this process
    try:
        with tempfile.TemporaryDirectory(prefix="consistency-") as folder:
            work = Path(options.work or folder)
            work.mkdir(parents=True, exist_ok=True)
            result, asked = asyncio.run(measure(options, work))
    except servers.ServerFailed as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    if options.html:
        options.html.write_text(page(result, asked["direct"], asked["ocho"]), encoding="utf-8")
        console.print(f"report: {options.html}")
    with tables_aside(options.json):
        show(result)
    give_json(result, options.json)
    return 0


async def measure(options: argparse.Namespace, work: Path) -> tuple[dict[str, Any], dict[str, list[Asked]]]:
    """One run: evidence, repeats and rephrasings over restarts and evictions, expiry, document changes."""
    began = time.monotonic()
    rng = random.Random(options.seed)
    corpus = (
        labelled_corpus(options.data, work, options.groups, rng)
        if options.data
        else shipped_corpus(options.corpus, work, options.groups, rng)
    )
    wanted = list(changes(corpus, options.changes, rng))
    answers = _answers(corpus) if options.reader == "told" else {}
    rounds = run.schedule(corpus.questions, options.repeats, rng)
    plan = run.Plan(options.repeats, options.restarts, options.evict, options.at_once, max_tokens=options.max_tokens)
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())
        redis_url = options.redis or processes.enter_context(servers.redis(work / "redis.log"))
        local = options.provider == "local-llm" or options.upstream == "local"
        config = ProviderConfig(
            profile="azure-gpt4-2023", seed=options.seed, time_scale=options.time_scale,
            faults=UPSTREAMS.get(options.upstream, SHAKY), calls_kept=100_000, truths=_truths(options, corpus, answers),
        )  # fmt: skip
        stand_ins = [await stack.enter_async_context(running_provider(config)) for _ in range(3)]
        urls, big = [p.base_url for p in stand_ins], "gpt-4"
        if local:
            weights = {"fast": FAST, "big": BIG}[options.local_model]
            llms = processes.enter_context(running_local_llms(models=(weights,)))
            url, big = getattr(llms, options.local_model), options.local_model
            urls = [url, url, stand_ins[2].base_url]
        house = run.House(
            urls[1], redis_url, work, options.embedder, big, ttl_s=options.ttl, judge=options.judge != "off",
            margin=options.margin, settle=not options.no_settle, witnesses=options.witnesses, spend=options.spend,
            top_k=options.top_k, disk_mb=options.disk_mb,
        )  # fmt: skip
        settings = house.settings()
        ocho = run.Ocho(settings)
        await run.ingest(settings, corpus)
        apart = run.Ocho(replace(house, provider_url=urls[2], big="gpt-4", judge=False).settings())
        passages = await run.evidence(apart, stand_ins[2], corpus.questions)
        direct = await run.directly(urls[0], big, house, rounds, plan)
        console.print(f"direct: {len(direct)} asks", style="dim")
        through = await run.through(ocho, rounds, plan, redis_url, random.Random(options.seed))
        console.print(f"through Ocho: {len(through)} asks", style="dim")
        calm = replace(plan, repeats=1, restarts=0, evict_share=0.0)
        late = [[(q, options.repeats) for q, _ in rounds[0]]] if options.expire else []
        direct_late = await run.directly(urls[0], big, house, late, plan)
        ocho.ahead_s = options.ttl + 60 if options.expire else 0.0
        through_late = await run.through(ocho, late, calm, redis_url, rng) if late else []
        after = await run.change(settings, corpus, wanted)
        answers.update(_answers(after) if answers else {})
        touched = [[(q, 0) for change in wanted for q in after.groups[change.group]]] if wanted else []
        new_direct = await run.directly(urls[0], big, house, touched, plan)
        new_ocho = await run.through(ocho, touched, calm, redis_url, rng) if touched else []
    old_facts = {change.group: change.old for change in wanted}
    result = {
        "direct": _path(direct, direct_late) | after_changes(new_direct, [*direct, *direct_late], old_facts),
        "ocho": _path(through, through_late) | after_changes(new_ocho, [*through, *through_late], old_facts),
        "evidence": evidence_figures(corpus.questions, passages),
        "cache": _served(through),
        "metrics": {name: value for name, value in sorted(ocho.metrics.items()) if value},
        "run": {
            "data": corpus.name, "reader": options.reader,
            "groups": len(corpus.groups), "questions": len(corpus.questions),
            "repeats": options.repeats, "restarts": options.restarts, "evict_share": options.evict,
            "expired": options.expire, "judge": options.judge, "judge_noise": options.judge_noise,
            "margin": options.margin, "settle": not options.no_settle, "witnesses": options.witnesses,
            "documents_changed": len(wanted), "at_once": options.at_once,
            "provider": "local-llm" if local else "stand-in",
            "upstream": options.local_model if local else options.upstream,
            "max_tokens": options.max_tokens, "disk_mb": options.disk_mb, "top_k": options.top_k,
            "time_scale": options.time_scale, "embedder": options.embedder, "seed": options.seed,
            "python": platform.python_version(), "cpus": os.cpu_count(), "seconds": round(time.monotonic() - began, 1),
        },
    }  # fmt: skip
    return result, {"direct": direct, "ocho": through, "late": through_late, "new": new_ocho}


def _truths(options: argparse.Namespace, corpus: Corpus, answers: dict[str, Gold]) -> Truths:
    """What the stand-in knows: as a judge which questions are one, with a share of its verdicts turned round; as a
    reader what answers them."""
    meanings = {squeezed(q.text): q.group for q in corpus.questions} if options.judge == "truth" else {}
    return Truths(meanings, answers=answers, noise=options.judge_noise)


def _answers(corpus: Corpus) -> dict[str, Gold]:
    return {squeezed(q.text): Gold(q.facts, q.wrong_facts, q.document or "") for q in corpus.questions}


def _path(asked: list[Asked], late: list[Asked]) -> dict[str, Any]:
    """Repeats and rephrasings, and flips counted over the expiry as well."""
    found = figures(asked)
    if late:
        everything = figures([*asked, *late])
        found["flips_per_1000"] = everything["flips_per_1000"]
        found["tarr_with_expiry"], found["tara_with_expiry"] = everything["tarr_10"], everything["tara_10"]
    return found


def _served(asked: Sequence[Asked]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for ask in asked:
        counts[ask.cache or "error"] = counts.get(ask.cache or "error", 0) + 1
    return dict(sorted(counts.items()))


def show(result: dict[str, Any]) -> None:
    out = Console()
    table = Table(title="The same question, the same answer")
    for column in ("", "direct", "through Ocho"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [
        *KEYS,
        "corrected",
        "corrections_per_1000",
        "correct_majority",
        "correct_best_of",
        "agreeing_on_wrong",
        "tara_with_expiry",
        "changed_correct",
    ]
    for key in rows:
        if key in result["direct"]:
            table.add_row(key, *(_shown(key, result[path][key]) for path in ("direct", "ocho")))
    for lang in result["ocho"]["paraphrase_agreement_by_language"]:
        both = [result[path]["paraphrase_agreement_by_language"][lang] for path in ("direct", "ocho")]
        table.add_row(f"paraphrase_agreement {lang}", *(_shown("share", value) for value in both))
    out.print(table)
    evidence = Table(title="Passages of rephrasings")
    for column in ("", "pairs", "Jaccard", "same set", "same order of these", "any in common"):
        evidence.add_column(column, justify="left" if not column else "right")
    for lang, row in result["evidence"].items():
        evidence.add_row(lang, str(row["pairs"]), f"{row['jaccard']:.3f}", *(
            f"{row[key]:.1%}" for key in ("identical_set", "same_order_when_same_set", "same_best_document")
        ))  # fmt: skip
    out.print(evidence)
    out.print(" · ".join(f"{key} {value}" for key, value in result["cache"].items()), style="dim")
    out.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")


def _shown(key: str, value: float) -> str:
    return f"{value:g}" if key.endswith(("_per_1000", "_serves")) else f"{value:.1%}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench consistency", description=__doc__)
    parser.add_argument("--data", type=Path, help='labelled rephrasings, {"q", "g"} a line (default: --corpus)')
    parser.add_argument(
        "--corpus", choices=[*CORPORA], default="handbook", help="documents and questions, if no --data"
    )
    parser.add_argument(
        "--reader", choices=("told", "words"), default="told",
        help="how the stand-in reads: misreading at set rates, or by common words",
    )  # fmt: skip
    parser.add_argument("--groups", type=int, default=40, help="groups drawn from the data; 0: all (default 40)")
    parser.add_argument("--repeats", type=int, default=10, help="asks of each wording (default 10)")
    parser.add_argument("--restarts", type=int, default=2, help="of the gateway during the asks (default 2)")
    parser.add_argument("--evict", type=float, default=0.1, help="share of cache keys deleted, twice (default 0.1)")
    parser.add_argument("--changes", type=int, default=8, help="documents whose fact changes at the end (default 8)")
    parser.add_argument(
        "--no-expire", dest="expire", action="store_false", help="do not end all lives before the last round"
    )
    parser.add_argument("--ttl", type=float, default=86_400.0, help="seconds that answers are kept (default one day)")
    parser.add_argument("--at-once", type=int, default=4, help="asks under way at the same time (default 4)")
    parser.add_argument("--provider", choices=("stand-in", "local-llm"), default="stand-in")
    parser.add_argument("--max-tokens", type=int, help="of an answer (default: the provider's)")
    parser.add_argument("--disk-mb", type=float, default=64.0, help="of answers remembered on disk; 0: none")
    parser.add_argument("--top-k", type=int, default=6, help="passages in a prompt (default 6)")
    parser.add_argument("--local-model", choices=("fast", "big"), default="big", help="of the local LLMs")
    parser.add_argument(
        "--upstream", choices=[*sorted(UPSTREAMS), "local"], default="shaky",
        help="faults of the stand-in's answers; local: as --provider local-llm",
    )  # fmt: skip
    parser.add_argument(
        "--judge", choices=("truth", "likeness", "off"), default="truth",
        help="the stand-in as judge: knows which questions are one, guesses by common words, or is not asked",
    )  # fmt: skip
    parser.add_argument("--judge-noise", type=float, default=0.02, help="share of its verdicts that are wrong")
    parser.add_argument("--margin", type=float, default=2.0, help="log p(Yes) - log p(No) that a verdict must reach")
    parser.add_argument("--no-settle", action="store_true", help="answers stream on as they come")
    parser.add_argument("--witnesses", type=int, default=1, help="samples beside the first of a new question")
    parser.add_argument(
        "--spend", type=float, default=2.0, help="most on such samples, as a share of all answers' cost"
    )
    parser.add_argument("--time-scale", type=float, default=0.0, help="of the stand-in's delays; 0: none (default)")
    parser.add_argument("--embedder", default="local", help="local or off")
    parser.add_argument("--redis", help="URL of an empty Redis 8 (default: a private one is started)")
    parser.add_argument("--seed", type=int, default=0)
    add_json(parser)
    parser.add_argument("--html", type=Path, help="write a report with the pairs that disagree")
    parser.add_argument("--work", type=Path, help="keep data and logs in this folder")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
