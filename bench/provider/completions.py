"""One chat or text completion: draw its fate, write its choices, send them in their time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any

import orjson
from aiohttp import web

from bench.provider.ailments import HEALTHY, Ailment, ailing
from bench.provider.generation import Choice, Task, generate
from bench.provider.profiles import Failure, Fate, draw_fate
from bench.provider.records import Call
from bench.provider.wire import DONE, ApiError, ChatWire, Envelope, TextWire, Wire, azure_prompt_chunk, event, usage

# Constant: the quota itself is not simulated, only its refusals.
QUOTA_HEADERS = {"x-ratelimit-remaining-requests": "9999", "x-ratelimit-remaining-tokens": "1999999"}
CHAT, TEXT = ChatWire(), TextWire()


@dataclass(frozen=True, slots=True)
class Job:
    """A checked request: one task per prompt, ``copies`` choices each."""

    wire: Wire
    tasks: Sequence[Task]
    copies: int
    stream: bool
    include_usage: bool
    azure: bool
    dice: int  # seeds everything that is drawn for this call
    time_scale: float
    failures: bool
    ailment: Ailment = HEALTHY


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes of a stream, when they are due (seconds after the request), and tokens sent by then."""

    due_s: float
    data: bytes
    tokens: int


async def complete(http_request: web.Request, job: Job, call: Call) -> web.StreamResponse:
    """Answer ``job`` on its connection, keeping ``call`` up to date. Raises `ApiError` for drawn failures."""
    call.served = time.monotonic()
    rng, task = Random(job.dice), job.tasks[0]
    call.prompt_tokens = sum(each.prompt_tokens() for each in job.tasks)
    if call.prompt_tokens > task.profile.context_tokens:
        raise _too_long(call.prompt_tokens, task.profile.context_tokens)
    fate = ailing(draw_fate(task.profile, rng, call.prompt_tokens, failures=job.failures), job.ailment)
    await _fail(fate, job.time_scale, call)
    choices = [generate(each, Random(job.dice + 1 + copy)) for each in job.tasks for copy in range(job.copies)]
    first = choices[0].composed
    call.fault, call.truth, call.source = first.fault, first.truth, first.source
    envelope = Envelope(
        id=f"{rng.getrandbits(144):036x}"[:29],
        created=int(time.time()),
        model=call.model,
        azure=job.azure,
        include_usage=job.include_usage,
        usage=usage(call.prompt_tokens, sum(len(choice.tokens) for choice in choices)),
    )
    if job.stream:
        return await _stream(http_request, job, call, list(_frames(job, envelope, choices, fate, rng)))
    decode_s = fate.decode_s(rng, max(len(choice.tokens) for choice in choices))
    await _until(call.served + job.time_scale * (fate.ttft_s + decode_s))
    if job.ailment.hangs:
        await asyncio.Event().wait()
    call.status, call.output_tokens = 200, envelope.usage["completion_tokens"]
    body = orjson.dumps(job.wire.reply(envelope, choices))
    return web.Response(body=body, content_type="application/json", headers=QUOTA_HEADERS)


def _frames(job: Job, envelope: Envelope, choices: Sequence[Choice], fate: Fate, rng: Random) -> Iterator[Frame]:
    """The stream in order: role with the first token, one frame per token, finish one gap later, usage, done."""
    wire, steps = job.wire, max(len(choice.tokens) for choice in choices)
    instants = [fate.ttft_s, *(fate.ttft_s + passed for passed in accumulate(fate.gaps_s(rng, steps)))]
    if job.azure and wire is CHAT:
        yield Frame(fate.ttft_s, event(azure_prompt_chunk()), 0)
    for index, choice in enumerate(choices):
        for chunk in wire.opening(envelope, index, choice):
            yield Frame(fate.ttft_s, event(chunk), 0)
    sent = 0
    for position in range(steps):
        for index, choice in enumerate(choices):
            if position < len(choice.tokens):
                sent += 1
                yield Frame(instants[position], event(wire.piece(envelope, index, choice, position)), sent)
    end = instants[steps]
    for index, choice in enumerate(choices):
        yield Frame(end, event(wire.closing(envelope, index, choice)), sent)
    if job.include_usage:
        yield Frame(end, event(wire.ending(envelope)), sent)
    yield Frame(end, DONE, sent)


async def _stream(http_request: web.Request, job: Job, call: Call, frames: Sequence[Frame]) -> web.StreamResponse:
    """Send each frame when it is due. Instants are absolute, so lateness of one never adds to the next."""
    began = call.served or call.started
    await _until(began + job.time_scale * frames[0].due_s)
    response = web.StreamResponse(headers={"Cache-Control": "no-cache", **QUOTA_HEADERS})
    response.content_type = "text/event-stream"
    await response.prepare(http_request)
    call.status = 200
    position, last = 0, len(frames) // 2 if job.ailment.halves else len(frames)
    while position < last:
        await _until(began + job.time_scale * frames[position].due_s)
        elapsed = time.monotonic() - began
        start = position
        while position < last and job.time_scale * frames[position].due_s <= elapsed:
            position += 1
        await response.write(b"".join(frame.data for frame in frames[start:position]))
        call.output_tokens = frames[position - 1].tokens
    if job.ailment.hangs:
        await asyncio.Event().wait()
    if job.ailment.breaks and http_request.transport is not None:
        http_request.transport.close()  # what was written goes out first
        return response
    await response.write_eof()
    return response


async def _fail(fate: Fate, time_scale: float, call: Call) -> None:
    """Return at once for a call that is to succeed; otherwise raise, or never return."""
    if fate.failure is Failure.NONE:
        return
    if fate.failure is Failure.HANG:
        await asyncio.Event().wait()
    await _until((call.served or call.started) + time_scale * fate.ttft_s)
    if fate.failure is Failure.SERVER_ERROR:
        raise ApiError(500, "The server had an error while processing your request.", type="server_error")
    wait_s = time_scale * fate.retry_after_s
    headers = {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))}
    message = f"Rate limit reached for {call.model}. Please try again in {wait_s:.1f}s."
    raise ApiError(429, message, "rate_limit_exceeded", "requests", headers={**headers, **_EXHAUSTED})


_EXHAUSTED: Mapping[str, str] = dict.fromkeys(QUOTA_HEADERS, "0")


async def _until(instant: float) -> None:
    """Sleep until ``instant`` on ``time.monotonic``; at once if it has passed."""
    # A loop: timers of uvloop have a grain of 1 ms and may fire early.
    while (left := instant - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(left)


def _too_long(tokens: int, limit: int) -> ApiError:
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} tokens."
    )
    return ApiError(400, message, "context_length_exceeded", param="messages")


def options_of(body: Mapping[str, Any]) -> tuple[bool, bool]:
    """(stream, include_usage)."""
    options = body.get("stream_options")
    return body.get("stream") is True, isinstance(options, dict) and options.get("include_usage") is True
