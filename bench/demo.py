"""`python -m bench demo`: real questions over the sample documents, asked directly and through Ocho, side by side.

Both paths get the same arrivals at the same moments, from the same provider, and count every one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from openai import AsyncOpenAI
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench import report, servers
from bench.handbook import FOLDER, QUESTIONS, Question, load
from bench.paths import DirectPath, GatewayPath, Outcome
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource

console = Console()
WORK = Path(".demo")
SEED = 5
PATIENCE_S = 90.0  # then a person gives up: counted as not answered, on both paths alike


@dataclass(frozen=True, slots=True)
class Setup:
    """Where the answers come from, and how much is asked."""

    name: str
    base_url: str
    api_key: str
    model: str
    rewrite_model: str  # "": the direct path asks without rewriting
    embedding_model: str
    draft_model: str  # the fast model for drafts; "": none
    groups: int  # of questions; each has one to four wordings
    spread_s: float  # arrivals come within this time; 0: one after the other
    top_k: int = 6
    max_tokens: int | None = None
    azure: bool = False


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench demo", description=__doc__)
    parser.add_argument("--provider", choices=("stand-in", "openai", "local-llm"), default="stand-in")
    parser.add_argument("--groups", type=int, help="groups of questions to ask")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(argv)
    shutil.rmtree(WORK, ignore_errors=True)
    try:
        with ExitStack() as stack:
            setup = stack.enter_context(PROVIDERS[options.provider]())
            return asyncio.run(_run(setup, options.groups or setup.groups, options.seed))
    except servers.ServerFailed as error:
        console.print(f"[red]demo failed:[/] {error}")
        return 1


@contextmanager
def stand_in() -> Iterator[Setup]:
    models = ("gpt-4=azure-gpt4-2023", "gpt-35-turbo=gpt35-2023")
    flags = [word for model in models for word in ("--model", model)]
    flags += ["--faults", "on", "--seed", str(SEED), "--questions", str(QUESTIONS), "--judge-noise", "0.05"]
    with servers.provider(WORK / "provider.log", *flags) as url:
        yield Setup("stand-in provider, azure-gpt4-2023", url, "demo", "gpt-4", "gpt-35-turbo", "gpt-4", "gpt-35-turbo",
                    36, 35.0)  # fmt: skip


@contextmanager
def openai() -> Iterator[Setup]:
    if key := os.environ.get("OPENAI_API_KEY"):
        url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
        yield Setup("OpenAI", url, key, os.environ.get("OCHO_DEMO_MODEL", "gpt-4o"), "gpt-4o-mini",
                    "text-embedding-3-small", "gpt-4o-mini", 36, 35.0)  # fmt: skip
    elif (endpoint := os.environ.get("AZURE_OPENAI_ENDPOINT")) and (key := os.environ.get("AZURE_OPENAI_API_KEY")):
        model = os.environ.get("OCHO_DEMO_MODEL", "gpt-4o")
        yield Setup(
            "Azure OpenAI",
            f"{endpoint.rstrip('/')}/openai/v1",
            key,
            model,
            "",
            "",
            os.environ.get("OCHO_DEMO_DRAFT_MODEL", ""),
            36,
            35.0,
        )
    else:
        raise servers.ServerFailed(
            "PROVIDER=openai needs OPENAI_API_KEY, or AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY "
            "(OCHO_DEMO_MODEL names the model or deployment; default gpt-4o)"
        )


@contextmanager
def local_llm() -> Iterator[Setup]:
    from bench.local_llm import BIG, running_local_llms

    with running_local_llms(models=(BIG,)) as urls:
        yield Setup(
            "Qwen2.5-Coder-1.5B on this CPU", urls.big, "none", "big", "", "", "", 4, 0.0, top_k=2, max_tokens=64
        )


PROVIDERS = {"stand-in": stand_in, "openai": openai, "local-llm": local_llm}


async def _run(setup: Setup, groups: int, seed: int) -> int:
    console.rule(f"[bold]오초 Ocho demo[/] · {setup.name}")
    config = _configure(setup)
    _ingest(config)
    asks = _arrivals(load(), groups, setup.spread_s, seed)
    console.print(
        f"{len(asks)} questions ({len({a.question.group for a in asks})} groups of rephrasings and traps, "
        f"some asked again) " + (f"within {setup.spread_s:g} s" if setup.spread_s else "one after the other")
    )
    with servers.gateway(config, WORK / "gateway.log") as url:
        gateway_client = AsyncOpenAI(base_url=url, api_key="demo", timeout=PATIENCE_S)
        direct_client = AsyncOpenAI(base_url=setup.base_url, api_key=setup.api_key, timeout=PATIENCE_S)
        record = Record.open(WORK / "data" / "documents.db")
        source = EmbeddedSource("handbook", record)
        direct = DirectPath(direct_client, setup.model, setup.rewrite_model, setup.embedding_model, source, setup.top_k)
        through = GatewayPath(gateway_client, "handbook")
        direct.max_tokens = through.max_tokens = setup.max_tokens
        columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            bars = [progress.add_task(name, total=len(asks)) for name in ("direct", "through Ocho")]
            asking = [
                _ask_all(path, asks, PATIENCE_S, progress, bar) for path, bar in ((direct, bars[0]), (through, bars[1]))
            ]
            if setup.spread_s:
                both = await asyncio.gather(*asking)
            else:  # one CPU for all: side by side they would slow each other
                both = [await one for one in asking]
        await source.close()
        record.close()
    for name, outcomes in zip(("direct", "ocho"), both, strict=True):
        report.save(outcomes, WORK / f"{name}.jsonl")
    before, after = (report.summarise(outcomes) for outcomes in both)
    report.waterfalls(console, both[1])
    report.compare(console, before, after)
    report.failures(console, both[1])
    answered = all(not outcome.error for outcome in both[1])
    console.print(report.last_line(before, after, ok=answered), highlight=False, soft_wrap=True)
    return 0 if answered else 1


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float  # after the start
    question: Question


def _arrivals(questions: Sequence[Question], groups: int, spread_s: float, seed: int) -> list[Arrival]:
    """Every wording of ``groups`` groups once, a fifth of them a second time, in random order at Poisson times."""
    rng = random.Random(seed)
    plain = sorted({q.group for q in questions if q.kind == "plain"})
    others = sorted({q.group for q in questions} - set(plain))
    chosen = set(rng.sample(plain, min(len(plain), groups * 2 // 3)))
    chosen |= set(rng.sample(others, min(len(others), groups - len(chosen))))
    asked = [q for q in questions if q.group in chosen]
    asked += rng.sample(asked, len(asked) // 5)
    rng.shuffle(asked)
    times = sorted(rng.uniform(0, spread_s) for _ in asked)
    return [Arrival(at, question) for at, question in zip(times, asked, strict=True)]


async def _ask_all(
    path: DirectPath | GatewayPath, asks: Sequence[Arrival], patience_s: float, progress: Progress, bar: TaskID
) -> list[Outcome]:
    """Open loop: every question is asked at its time, however long the earlier ones take."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(ask: Arrival) -> Outcome:
        await asyncio.sleep(began + ask.at_s - loop.time())
        try:
            async with asyncio.timeout(patience_s):
                outcome = await path.ask(ask.question)
        except TimeoutError:
            outcome = Outcome(ask.question, "", f"gave up after {patience_s:g} s", patience_s, patience_s)
        progress.advance(bar)
        return outcome

    if all(ask.at_s == 0 for ask in asks):
        return [await one(ask) for ask in asks]
    return list(await asyncio.gather(*(one(ask) for ask in asks)))


def _configure(setup: Setup) -> Path:
    """The configuration a user would write, for this provider."""
    WORK.mkdir(parents=True, exist_ok=True)
    fast = promise = ""
    if setup.draft_model:
        fast = f"""  - name: fast
    deployments: [{{name: provider-fast, base_url: "{setup.base_url}", api_key: "{setup.api_key}", model: {setup.draft_model}}}]
    timeouts: {{connect_s: 2, first_token_s: 4, idle_s: 10, total_s: 60}}
"""  # noqa: E501
        promise = """    draft: {model: fast, mode: auto}
    deadline: {seconds: 5, on_expiry: [draft, stale, quote, wait]}
    sized: true
"""
    path = WORK / "ocho.yaml"
    path.write_text(
        f"""# written by the demo
models:
  - name: big
    deployments: [{{name: provider, base_url: "{setup.base_url}", api_key: "{setup.api_key}", model: {setup.model}}}]
    timeouts: {{connect_s: 2, first_token_s: {8 if setup.spread_s else 120}, idle_s: 30, total_s: 150}}
    retries: 3
{fast}  - name: handbook
    answers_with: big
    documents: {{collections: [handbook], top_k: {setup.top_k}}}
{promise}documents: [{{name: handbook}}]
data_dir: {WORK / "data"}
""",
        encoding="utf-8",
    )
    path.chmod(0o600)  # it holds the key
    return path


def _ingest(config: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gateway",
        "ingest",
        str(FOLDER),
        "--collection",
        "handbook",
        "--config",
        str(config),
    ]
    subprocess.run([*command, "--include", "*/*"], check=True)  # not the README and the questions beside the folders
