"""Other gateways, each in an environment of its own that is made on first use and never part of ours.

Versions are pinned: LiteLLM's 1.107.0 was reported compromised. As configured: one worker, no database, no retries,
logs down, and for LiteLLM what makes it faster than as installed (httptools; OpenTelemetry, whose absence costs it a
failing import a request).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.servers import ServerFailed

HOME = Path(".cache/peers")
INSTALL_S = 900.0


@dataclass(frozen=True, slots=True)
class Peer:
    """How to run one. ``command`` is given its home, the port and the mock's address."""

    name: str
    version: str
    packages: Sequence[str]  # of pip, or of npm
    program: str  # inside its home, there once it is installed
    command: Callable[[Path, int, str], list[str]]
    node: bool = False
    model: str = "mock"
    path: str = "/v1"
    environ: Mapping[str, str] = field(default_factory=dict)
    headers: Callable[[str], Mapping[str, str]] = lambda mock: {}
    streams: bool = True
    told: str = ""  # finds the port in what it prints, where it takes one of its own choosing


def _litellm(home: Path, port: int, mock: str) -> list[str]:
    config = home / "config.yaml"
    config.write_text(
        f"""model_list:
  - {{model_name: mock, litellm_params: {{model: openai/mock, api_base: "{mock}/v1", api_key: bench}}}}
litellm_settings: {{num_retries: 0, request_timeout: 60, drop_params: true}}
""",
        encoding="utf-8",
    )
    where = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return [str(home / "bin" / "litellm"), "--config", str(config), *where]


TENSORZERO = """
import sys, threading, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(gateway.base_url, flush=True)
threading.Event().wait()
"""


def _tensorzero(home: Path, port: int, mock: str) -> list[str]:
    config, script = home / "tensorzero.toml", home / "serve.py"
    config.write_text(
        f"""[gateway]
observability.enabled = false
[models.mock]
routing = ["mock"]
[models.mock.providers.mock]
type = "openai"
model_name = "mock"
api_base = "{mock}/v1/"
api_key_location = "none"
""",
        encoding="utf-8",
    )
    script.write_text(TENSORZERO, encoding="utf-8")
    return [str(home / "bin" / "python"), str(script), str(config)]


def _portkey(home: Path, port: int, mock: str) -> list[str]:
    preload = home / "loopback.cjs"
    preload.write_text(LOOPBACK, encoding="utf-8")
    return ["node", "--require", str(preload), str(home / PORTKEY), f"--port={port}", "--headless"]


LOOPBACK = """// listen on this machine alone: the program has no option for it
const { Server } = require('node:net')
const listen = Server.prototype.listen
Server.prototype.listen = function (port, ...rest) {
  const given = typeof port === 'number' ? ['127.0.0.1', ...rest.slice(1)] : rest
  return listen.call(this, port, ...given)
}
"""
PORTKEY = "node_modules/@portkey-ai/gateway/build/start-server.js"
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "litellm",
            "1.106.2",
            ("litellm[proxy]==1.106.2", "httptools", "opentelemetry-api", "opentelemetry-sdk"),
            "bin/litellm",
            _litellm,
            environ={
                "LITELLM_MODE": "PRODUCTION",
                "LITELLM_LOG": "ERROR",
                "PYTHONDONTWRITEBYTECODE": "",
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, for the bench
            },
        ),
        Peer(
            "portkey",
            "1.15.2",
            ("@portkey-ai/gateway@1.15.2",),
            PORTKEY,
            _portkey,
            node=True,
            environ={"NODE_ENV": "production"},
            headers=lambda mock: {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{mock}/v1"},
            streams=False,  # on current Node every streamed answer of this version fails (TypeError: immutable)
        ),
        Peer(
            "tensorzero",
            "2026.6.0",
            ("tensorzero==2026.6.0",),
            "bin/python",
            _tensorzero,
            model="tensorzero::model_name::mock",
            path="/openai/v1",
            told=r"http://127\.0\.0\.1:(\d+)/openai/v1",
        ),
    )
}


def installed(peer: Peer) -> Path:
    """Its home, made first where it is not there. Raises ServerFailed where it cannot be had here."""
    home = (HOME / peer.name).resolve()
    mark = home / f".ready-{peer.version}"
    if mark.exists() and (home / peer.program).exists():
        return home
    if peer.node and not (shutil.which("node") and shutil.which("npm")):
        raise ServerFailed(f"{peer.name} needs Node and npm")
    home.mkdir(parents=True, exist_ok=True)
    if peer.node:
        _run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(home), *peer.packages], peer)
    else:
        _run([sys.executable, "-m", "venv", str(home)], peer)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *peer.packages], peer)
    mark.touch()
    return home


def _run(command: Sequence[str], peer: Peer) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ServerFailed(f"{peer.name} {peer.version} could not be installed: {' '.join(last)}")
