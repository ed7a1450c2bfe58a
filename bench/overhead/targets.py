"""What is measured: servers under test on the first core, the mock on the last, where the load comes from too."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench import servers
from bench.overhead.load import Requests, request_bytes
from bench.overhead.peers import PEERS, Peer, installed

QUESTION = "정규직 직원의 연차휴가는 며칠인가요? How many days of annual leave do I get? " * 12  # about 1 KB
ASKED = "정규직 직원의 연차휴가는 1년에 며칠인가요"  # as a person asks; for hits by meaning
MARKS = "?!.~"
OTHER_SPACE = " \u3000\u2002\u2003"  # all of them are one blank once a question is normalised
PATIENCE_S = 240.0  # LiteLLM reads thousands of modules before it listens
Wording = Callable[[int], str]  # the nth question


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    url: str
    model: str
    pid: int | None = None  # of the process under test, for its CPU seconds and memory
    started_s: float = 0.0  # from its start until it took connections
    headers: Mapping[str, str] = field(default_factory=dict)
    wording: Wording | None = None  # None: always the same question
    streams: bool = True  # whether streamed answers are measured too
    warm: str = ""  # asked once before all else

    def requests(self, *, stream: bool = False, paced: bool = False) -> Requests:
        """The next request's bytes, each time it is called."""

        def made(text: str) -> bytes:
            body = {"model": self.model, "messages": [{"role": "user", "content": text}], "temperature": 0,
                    "stream": stream, **({"user": "paced"} if paced else {})}  # fmt: skip
            return request_bytes(self.url, json.dumps(body, ensure_ascii=False).encode(), self.headers)

        if self.wording is None:
            same = made(QUESTION)
            return lambda: same
        wording = self.wording
        return lambda: made(wording(next(_NUMBERS)))


_NUMBERS = count()  # over all rounds, so that no wording comes twice


def typed_with_other_spaces(number: int) -> str:
    """Another exact key, the same text once normalised: its vector is known."""
    words = ASKED.split()
    blanks = [OTHER_SPACE[_digit(number, n, len(OTHER_SPACE))] for n in range(len(words) - 1)]
    more = " " * (1 + number // math.prod(len(OTHER_SPACE) for _ in blanks))
    return "".join(w + b for w, b in zip(words, [*blanks, ""], strict=True)) + more


def typed_with_other_marks(number: int) -> str:
    """Another text, so it is embedded anew; the same question."""
    marks = "".join(MARKS[_digit(number, n, len(MARKS))] for n in range(10))
    return ASKED + marks


def _digit(number: int, place: int, base: int) -> int:
    for _ in range(place):
        number //= base
    return number % base


@dataclass(slots=True)
class Starter:
    """Starts servers on free ports, pinned, and measures how long each needs."""

    stack: ExitStack
    work: Path

    def start(
        self,
        name: str,
        cores: set[int],
        environ: Mapping[str, str],
        command: Callable[[int], Sequence[str]],
        told: str = "",
    ) -> tuple[int, int, float]:
        """Port, process id, seconds until it took connections. ``told`` finds another port in what it prints.

        Raises ServerFailed.
        """
        port, log = servers.free_port(), self.work / f"{name}.log"
        began = time.perf_counter()
        with pinned(cores):
            child = self.stack.enter_context(servers.process(command(port), log, environ))
        port = servers.told_port(told, child, log, PATIENCE_S) if told else port
        servers.wait_for_port(port, child, log, PATIENCE_S)
        return port, child.pid, time.perf_counter() - began


def targets(stack: ExitStack, work: Path, peers: Sequence[str]) -> list[Target]:
    """All servers, started; from here on this process stays on the last core."""
    work.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    first, last = {cores[0]}, {cores[-1]}
    start = Starter(stack, work).start
    mock = url(start("mock", last, {}, lambda port: python("bench.overhead.mock", str(port)))[0], "")
    config = config_file(work, mock)

    def serve(port: int) -> list[str]:
        return python("gateway", *served(config, port))

    bare = start("proxy", first, {}, lambda port: python("bench.overhead.bare_proxy", str(port), mock))
    hello = start("hello", first, {}, lambda port: python("bench.overhead.hello", str(port)))
    ocho = start("gateway", first, {}, serve)
    proxied = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}  # a proxy in sight: aiohttp's client
    general = start("general", first, proxied, serve)
    two = start("two-workers", set(cores), {}, lambda port: two_workers(work, mock, port))
    found = [
        Target("direct", url(int(mock.rsplit(":", 1)[1])), "mock"),
        Target("bare aiohttp proxy", url(bare[0]), "mock", *bare[1:]),
        Target("Ocho relay", url(ocho[0]), "mock", *ocho[1:]),
        Target("Ocho relay, aiohttp client", url(general[0]), "mock", *general[1:]),
        Target("Ocho relay, 2 workers", url(two[0]), "mock", None, two[2], streams=False),
        Target("Ocho exact hit", url(ocho[0]), "cached", *ocho[1:]),
        Target("Ocho semantic hit, vector known", url(ocho[0]), "cached", *ocho[1:],
               wording=typed_with_other_spaces, streams=False, warm=ASKED + "?"),
        Target("Ocho semantic hit, local embedder", url(ocho[0]), "cached", *ocho[1:],
               wording=typed_with_other_marks, streams=False, warm=ASKED + "?"),
        Target("aiohttp hello world", url(hello[0]), "mock", *hello[1:], streams=False),
    ]  # fmt: skip
    found += [_peer(PEERS[name], start, first, mock, work) for name in peers]
    os.sched_setaffinity(0, last)
    return found


def _peer(peer: Peer, start: Callable[..., tuple[int, int, float]], cores: set[int], mock: str, work: Path) -> Target:
    home = installed(peer)
    port, pid, started_s = start(
        f"peer-{peer.name}", cores, peer.environ, lambda port: peer.command(home, port, mock), peer.told
    )
    return Target(f"peer:{peer.name} {peer.version}", f"http://127.0.0.1:{port}{peer.path}", peer.model, pid, started_s,
                  peer.headers(mock), streams=peer.streams, warm=ASKED)  # fmt: skip


def url(port: int, path: str = "/v1") -> str:
    return f"http://127.0.0.1:{port}{path}"


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def served(config: Path, port: int) -> list[str]:
    """Arguments of ``ocho``."""
    return ["serve", "--config", str(config), "--port", str(port)]


def config_file(work: Path, mock: str, name: str = "ocho", more: str = "", telemetry: str = "{}") -> Path:
    """Every default on; one model that is only relayed, one with the caches."""
    path = work / f"{name}.yaml"
    path.write_text(
        f"""auth: {{keys: [{{key: bench-key, tenant: bench}}]}}
server: {{host: 127.0.0.1{more}}}
telemetry: {telemetry}
models:
  - {{name: mock, deployments: [{{name: mock, base_url: "{mock}/v1"}}]}}
  - {{name: cached, answers_with: mock, cache: true}}
data_dir: {work / f"data-{name}"}
""",
        encoding="utf-8",
    )
    return path


def two_workers(work: Path, mock: str, port: int) -> list[str]:
    return python("gateway", *served(config_file(work, mock, "two", ", workers: 2"), port))


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Children started in the block stay on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
