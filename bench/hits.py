"""`python -m bench hits`: how long a hit takes over HTTP, one request after the other on one connection.

The same request again (exact), and its very bytes once more, as the many ask for what is popular; the question in
another dress (semantic), whose text is new and must be embedded; the same where the text's vector is known from
elsewhere; and the other dress asked a second time.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from bench import servers
from bench.as_json import add_json, give_json, tables_aside
from bench.overhead.load import percentile_ms
from bench.retrieval.corpus import HANDBOOK, load_questions

PAUSE_S = 0.02  # after a miss: its answer is kept beside the next request, and should not be measured with it
TRIES = 50  # a busy machine may keep the answer later than that
CONFIG = """\
models:
  - {name: hits, cache: true, deployments: [{name: stand-in, kind: openai, base_url: "%s", api_key: none}]}
cache: {store: memory, semantic: {embedder: local, embedder_threads: %d}}
telemetry: {log_level: warning}
data_dir: "%s"
"""


class Line:
    """One kept-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = f"{parts.hostname}:{parts.port}"
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path = f"{parts.path}/chat/completions"

    def ask(self, question: str, namespace: str = "") -> tuple[str, float]:
        """What the cache said, and seconds from the first byte sent to the last received."""
        body = json.dumps({"model": "hits", "messages": [{"role": "user", "content": question}]}).encode()
        headers = {"host": self._host, "content-type": "application/json", "content-length": str(len(body))}
        if namespace:
            headers["x-ocho-cache-namespace"] = namespace
        lines = [f"POST {self._path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        began = time.perf_counter()
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        top, _, rest = received.partition(b"\r\n\r\n")
        told = dict(line.lower().split(": ", 1) for line in top.decode().split("\r\n")[1:])
        while len(rest) < int(told["content-length"]):
            rest += self._more()
        seconds = time.perf_counter() - began
        if b" 200 " not in top.split(b"\r\n")[0]:
            raise RuntimeError(f"the gateway answered {rest[:300]!r}")
        return told["x-ocho-cache"], seconds

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        piece = self._socket.recv(65536)
        if not piece:
            raise RuntimeError("the gateway closed the connection")
        return piece


def measured(line: Line, questions: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of each kind of hit; what was no hit of that kind is left out and told by the count."""
    found: dict[str, list[float]] = defaultdict(list)

    def ask(question: str, namespace: str, kind: str, outcome: str, tries: int = 1) -> None:
        for _ in range(tries):
            said, seconds = line.ask(question, namespace)
            if said == outcome:
                found[kind].append(seconds)
            if said != "miss":
                return
            time.sleep(PAUSE_S)

    for question in questions:
        dress = "  ".join(question.rstrip("?？").split(" "))
        ask(question, "", "miss (provider without delay)", "miss")
        ask(question, "", "exact", "exact", tries=TRIES)
        ask(question, "", "exact, the same bytes once more", "exact")
        ask(dress, "", "semantic, embedding its text", "semantic")
        ask(dress, "", "asked so again", "semantic")
        ask(question, "another", "miss (provider without delay)", "miss")
        ask(dress, "another", "semantic, its vector known", "semantic")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench hits", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--questions", type=Path, default=HANDBOOK / "questions.jsonl", help="JSONL lines {q, doc}")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1, help="of the local embedder for one question")
    add_json(parser)
    options = parser.parse_args(argv)
    asked = list(dict.fromkeys(question.text for question in load_questions(options.questions)))[: options.limit]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        with servers.provider(work / "provider.log", "--profile", "instant", "--answer-faults", "off") as upstream:
            config = work / "ocho.yaml"
            config.write_text(CONFIG % (upstream, options.threads, work / "data"), encoding="utf-8")
            with servers.gateway(config, work / "gateway.log") as url, closing(Line(url)) as line:
                found = measured(line, asked)
    result = {
        "command": "hits", "questions": len(asked), "embedder_threads": options.threads,
        "machine": f"{platform.machine()}, Python {platform.python_version()}", "kinds": _figures(found),
    }  # fmt: skip
    with tables_aside(options.json):
        _show(result["kinds"], Console())
    give_json(result, options.json)
    return 0


def _figures(found: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        kind: {"n": len(seconds), **{f"p{p}_ms": round(percentile_ms(seconds, p), 2) for p in (50, 90, 99)}}
        for kind, seconds in found.items()
    }


def _show(kinds: Mapping[str, Mapping[str, float]], console: Console) -> None:
    table = Table()
    for column in ("", "n", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(column, justify="right" if column else "left")
    for kind, figures in kinds.items():
        table.add_row(kind, *map(str, figures.values()))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
