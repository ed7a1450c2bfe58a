"""A provider without latency, as a raw protocol: an order of magnitude faster than what is measured with it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

TEXT = "연차휴가는 1년에 15일입니다. Annual leave is 15 days a year."
CHUNKS = 100
COMPLETION = {
    "id": "chatcmpl-mock",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "mock",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": TEXT * 4}, "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 200, "completion_tokens": 60, "total_tokens": 260},
}


def _plain() -> bytes:
    body = json.dumps(COMPLETION, ensure_ascii=False).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _stream() -> bytes:
    """A whole streamed answer, back to back."""

    def frame(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**COMPLETION, "object": "chat.completion.chunk", "choices": [choice]}
        chunk.pop("usage")
        return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"

    frames = [frame({"role": "assistant", "content": ""}), *(frame({"content": "오초 "}) for _ in range(CHUNKS))]
    body = b"".join([*frames, frame({}, "stop"), b"data: [DONE]\n\n"])
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


PLAIN, STREAM = _plain(), _stream()
PACED_CHUNKS, PACE_S = 25, 0.04  # a body with "user": "paced" is streamed at that pace


def _frames() -> tuple[bytes, bytes, bytes]:
    """Head, one chunk, end of a paced stream."""
    choice = {"index": 0, "delta": {"content": "오초 "}, "logprobs": None, "finish_reason": None}
    chunk = {**COMPLETION, "object": "chat.completion.chunk", "choices": [choice]}
    chunk.pop("usage")
    frame = b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
    done = b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head, b"%x\r\n%s\r\n" % (len(frame), frame), b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done)


HEAD, FRAME, END = _frames()


class Mock(asyncio.Protocol):
    """Reads requests with a content-length and answers each at once."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            lower = self._buffer[:head].lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < head + 4 + length:
                return
            body = self._buffer[head + 4 : head + 4 + length]
            self._buffer = self._buffer[head + 4 + length :]
            if b'"paced"' in body:
                self._pace(PACED_CHUNKS)
                continue
            streamed = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(STREAM if streamed else PLAIN)

    def _pace(self, left: int) -> None:
        """Each chunk at its time; the head goes with the first."""
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._transport.write(HEAD + FRAME if left == PACED_CHUNKS else FRAME if left else END)
        if left:
            asyncio.get_running_loop().call_later(PACE_S, self._pace, left - 1)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
