"""Single questions over plain HTTP, and what a gateway counted."""

from __future__ import annotations

import json
import urllib.request

from bench import servers
from bench.overhead.targets import Target


def ask(target: Target, text: str) -> None:
    """One question over plain HTTP, whole. Raises ServerFailed."""
    body = {"model": target.model, "messages": [{"role": "user", "content": text}], "temperature": 0, "stream": False}
    headers = {"content-type": "application/json", "authorization": "Bearer bench-key", **target.headers}
    request = urllib.request.Request(f"{target.url}/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            reply.read()
    except OSError as error:
        raise servers.ServerFailed(f"{target.name} does not answer: {error}") from error


def semantic_hits(target: Target) -> float:
    """As the gateway counts them; 0 for what has no wordings."""
    if target.wording is None:
        return 0.0
    with urllib.request.urlopen(f"{target.url.removesuffix('/v1')}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    found = [
        line
        for line in lines
        if line.startswith("ocho_cache_requests_total") and '"semantic"' in line and '"hit"' in line
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)
