"""`python -m bench provider`: run the stand-in provider until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.provider.config import FAULTLESS, ProviderConfig
from bench.provider.profiles import PROFILES
from bench.provider.server import running_provider
from bench.provider.truths import Truths, read_answers, read_meanings, read_rewrites


def main(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        config = _config(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with contextlib.suppress(ImportError):  # faster, not needed
        import uvloop

        uvloop.install()
    try:
        asyncio.run(serve(config))
    except OSError as error:
        print(f"cannot listen on {config.host}:{config.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


async def serve(config: ProviderConfig) -> None:
    """Serve until a signal; the first line on stdout tells where."""
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    async with running_provider(config) as provider:
        where = {"url": provider.base_url, "azure_endpoint": provider.root_url, "profile": config.profile}
        print(json.dumps({**where, "models": dict(config.listed_models())}), flush=True)
        await stop.wait()


def _config(arguments: argparse.Namespace) -> ProviderConfig:
    """Raises ValueError for values that do not fit."""
    models = {}
    for given in arguments.model:
        name, separator, profile = given.partition("=")
        if not separator or not name:
            raise ValueError(f"--model wants NAME=PROFILE, got {given!r}")
        models[name] = profile
    return ProviderConfig(
        profile=arguments.profile or (None if models else "azure-gpt4-2023"),
        models=models,
        seed=arguments.seed,
        time_scale=arguments.time_scale,
        failures=arguments.faults == "on",
        faults=None if arguments.answer_faults == "on" else FAULTLESS,
        truths=_truths(arguments) if arguments.judge_data or arguments.questions else None,
        slots=arguments.slots,
        api_key=arguments.api_key,
        host=arguments.host,
        port=arguments.port,
    )


def _truths(arguments: argparse.Namespace) -> Truths:
    told = arguments.questions if arguments.reader == "told" else []
    return Truths(
        read_meanings([*arguments.judge_data, *told]),
        read_rewrites(arguments.questions),
        read_answers(told),
        arguments.judge_noise,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench provider", description=__doc__)
    add = parser.add_argument
    add(
        "--profile", choices=[*PROFILES], help="answers every model name not given by --model (default azure-gpt4-2023)"
    )
    add("--model", action="append", default=[], metavar="NAME=PROFILE", help="serve NAME with PROFILE; may repeat")
    add("--time-scale", type=float, default=1.0, help="0.1 = ten times faster, 0 = no delays (default 1)")
    add("--faults", choices=["on", "off"], default="off", help="429, 5xx and hanging calls (default off)")
    add("--answer-faults", choices=["on", "off"], default="on", help="wrong facts, refusals, rewording (default on)")
    add(
        "--judge-data",
        nargs="+",
        type=Path,
        default=[],
        help="*_groups.jsonl: as a judge it knows which of these are one",
    )
    add(
        "--questions",
        nargs="+",
        type=Path,
        default=[],
        help="files of questions: follow-ups are understood as what their field `means` says, see also --reader",
    )
    add(
        "--reader",
        choices=["told", "words"],
        default="told",
        help="of --questions it knows the `facts`, and misreads at its profile's rates, and as a judge the `group`; "
        "or it compares words",
    )
    add("--slots", type=int, help="chat calls a model works on at once; more wait in line (default: no limit)")
    add("--judge-noise", type=float, default=0.0, help="share of its verdicts that are wrong (default 0)")
    add("--seed", type=int, default=0, help="same seed, same answers and times (default 0)")
    add("--api-key", help="refuse other keys (default: any key, or none)")
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", type=int, default=0, help="0 = a free one (default)")
    return parser
