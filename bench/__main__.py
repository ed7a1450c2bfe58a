"""`python -m bench COMMAND …`: one line per command; its module is imported only when it runs."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

# command → (module with ``main(argv) -> int``, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("bench.demo", "ask the sample questions directly and through Ocho, and compare"),
    "semantic-cache": (
        "bench.semantic_cache.main",
        "hits and wrong hits of the semantic cache on labelled questions",
    ),
    "decisions": ("bench.semantic_cache.decisions", "how long the semantic cache takes to decide"),
    "calibrate": ("bench.calibrate", "make the semantic cache's calibration from labelled questions"),
    "ingest": ("bench.ingest", "how fast documents are read, and what kill -9 leaves"),
    "retrieval": ("bench.retrieval.main", "recall, latency and consistency of document search"),
    "consistency": ("bench.consistency.main", "same facts on repeats and rephrasings, directly and through Ocho"),
    "hits": ("bench.hits", "how long exact and semantic hits take over HTTP, embedding included"),
    "overhead": ("bench.overhead.main", "what the gateway costs, against a bare proxy, in one run"),
    "five-seconds": ("bench.five_seconds.main", "useful answers within 5 s, directly and through Ocho"),
    "tails": ("bench.tails.main", "one of four deployments falls ill, and overload: first token, goodput, refusals"),
    "soak": ("bench.soak.main", "a steady mixed load, and whether memory, tasks, sockets and files stay flat"),
    "metrics-doc": ("bench.metrics_doc", "write docs/metrics.md from the code"),
    "dashboards": ("bench.dashboards.main", "write the Grafana dashboards, and pictures of them"),
    "gate": ("bench.gate", "calibrate the gate that drafts must pass"),
    "doubts": ("bench.doubts", "how well it is told whether the big model's answer is right"),
    "pair": ("bench.pair", "a draft model and a big one of your own, each alone and both as the gateway answers"),
    "judge": ("bench.judge", "how well a real model tells paraphrases from traps, as the grey zone's judge"),
    "provider": ("bench.provider.main", "run the stand-in provider (OpenAI and Azure wire, calibrated latency)"),
    "local-llm": ("bench.local_llm", "run two real small models on the CPU behind OpenAI endpoints"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with the rest of ``argv``; return its exit code (2 = wrong usage)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] not in COMMANDS:
        print(f"unknown command {arguments[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    module, _ = COMMANDS[arguments[0]]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers which a bench started end with it
    return int(importlib.import_module(module).main(arguments[1:]))


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: python -m bench COMMAND [options]   (COMMAND --help for its options)", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
