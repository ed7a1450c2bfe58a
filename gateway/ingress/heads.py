"""Heads of plain chat requests, read by one regular expression and remembered.

Callers send the same head with each of their requests, but for the length of the body.
"""

from __future__ import annotations

import re

from gateway.ingress.head import Head, head_of

MAX_HEADS = 512  # remembered; all are forgotten when there are more, and those in use come back at once
MAX_KNOWN_BYTES = 2048  # of a head that is remembered
_LINE = re.compile(
    rb"POST (?:/v1|/openai/v1|/openai/deployments/([\w.-]+))/chat/completions(?:\?api-version=[\w.-]*)? HTTP/1\.1\r\n"
)
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[\t ]*(\d{1,11})[\t ]*\r\n", re.IGNORECASE)
_ODD = frozenset({"transfer-encoding", "content-encoding", "expect", "upgrade"})  # aiohttp knows what to do


class Heads:
    """Reads heads. What it remembers is the bytes of a head without its length, so no two callers share one unless
    they sent the same key."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._known: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def read(self, raw: bytes) -> tuple[Head, int] | None:
        """``raw`` up to and with its empty line. What it says, and the length of the body; None: not a plain request,
        aiohttp's to judge."""
        found = _LENGTH.search(raw)
        if found is None or (length := int(found[1])) > self._max_body:
            return None
        begins, ends = found.span(1)
        but_length = raw[:begins] + raw[ends:]
        head = self._known.get(but_length)
        if head is None:
            head = _read(raw)
            if head is None:
                return None
            if len(raw) <= MAX_KNOWN_BYTES:
                if len(self._known) >= MAX_HEADS:
                    self._known.clear()
                self._known[but_length] = head
        return head, length


def begins_well(buffer: bytes) -> bool:
    """Whether this may become the head of a plain request."""
    return _LINE.match(buffer) is not None if b"\n" in buffer else buffer[:6] == b"POST /"[: len(buffer)]


def _read(raw: bytes) -> Head | None:
    """None where anything is malformed, repeated or odd."""
    line = _LINE.match(raw)
    if line is None or _FIELDS.fullmatch(raw, line.end()) is None:
        return None
    fields = raw[line.end() : -4].decode("utf-8", "surrogateescape").split("\r\n")
    headers = {}
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(fields) or not _ODD.isdisjoint(headers):
        return None
    if headers.get("connection", "keep-alive").lower() not in {"keep-alive", "close"}:
        return None
    return head_of(headers, line[1].decode("ascii") if line[1] is not None else None)
