"""Asking, streamed: through a gateway, or over the deployments in turn as a plain load balancer does.

Raw SSE over aiohttp: what is timed is the first content, and a model SDK would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import aiohttp
import orjson

TRIES = 2  # of the turn-taking client: on an error the next deployment is asked


@dataclass(frozen=True, slots=True)
class Ask:
    """What one request came to. Seconds from when it was due."""

    at_s: float  # into the run
    phase: str
    status: int  # 0: no answer within the patience
    first_s: float  # to the first content; the patience where there was none
    seconds: float
    complete: bool


class Gateway:
    """One endpoint that knows the deployments itself."""

    def __init__(self, http: aiohttp.ClientSession, url: str, deadline_s: float) -> None:
        self._http = http
        self._url = url
        self._headers = {"x-ocho-deadline-ms": str(round(deadline_s * 1000))}

    async def ask(self, question: str, heard: Heard) -> int:
        return await _stream(self._http, self._url, "pool", question, heard, self._headers)


class RoundRobin:
    """The deployments in turn, the next one on an error status: what a plain load balancer with retries does."""

    def __init__(self, http: aiohttp.ClientSession, url: str, models: list[str]) -> None:
        self._http = http
        self._url = url
        self._models = models
        self._turn = count()

    async def ask(self, question: str, heard: Heard) -> int:
        status = 0
        for _ in range(TRIES):
            model = self._models[next(self._turn) % len(self._models)]
            status = await _stream(self._http, self._url, model, question, heard, {})
            if status == 200:
                break
        return status


@dataclass(slots=True)
class Heard:
    """What has come so far of one answer."""

    first: float | None = None  # instant of the first content
    complete: bool = False


async def _stream(
    http: aiohttp.ClientSession, url: str, model: str, question: str, heard: Heard, headers: Mapping[str, str]
) -> int:
    """The status; what the stream held is told to ``heard``. A broken stream is not complete, and raises nothing."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "stream": True}
    try:
        async with http.post(f"{url}/chat/completions", data=orjson.dumps(body), headers=headers) as reply:
            if reply.status != 200:
                await reply.read()
                return reply.status
            async for line in reply.content:
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    heard.complete = True
                elif heard.first is None and _has_content(line[6:]):
                    heard.first = time.monotonic()
            return reply.status
    except aiohttp.ClientError:
        return 0


def _has_content(data: bytes) -> bool:
    choices = orjson.loads(data).get("choices") or [{}]
    return bool((choices[0].get("delta") or {}).get("content"))


async def timed(
    client: Gateway | RoundRobin, question: str, due: float, at_s: float, phase: str, patience_s: float
) -> Ask:
    """One ask that is given up after ``patience_s``."""
    heard, status = Heard(), 0
    try:
        async with asyncio.timeout(patience_s):
            status = await client.ask(question, heard)
    except TimeoutError:
        heard.complete = False
    seconds = time.monotonic() - due if status else patience_s
    first_s = heard.first - due if heard.first is not None else patience_s
    return Ask(at_s, phase, status, first_s, seconds, heard.complete and status == 200)
