"""What the sources behind an HTTP API share: one bounded call, and a hit's fields as a passage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from gateway.chat import Passage
from gateway.clock import Deadline

MAX_REPLY_BYTES = 8 * 1024 * 1024
MAX_TEXT_CHARS = 8_000  # of one passage; more is a whole document and would fill the prompt alone


class SourceError(Exception):
    """The search service said no, or something that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Which field of the service's documents holds what. "" = there is none."""

    text: str = "text"
    document: str = "document"  # id of the whole document a passage belongs to
    title: str = "title"
    section: str = "section"
    position: str = "position"
    version: str = "version"  # without one, the passage's own text is its version
    groups: str = "groups"  # list of access groups; a passage without any is everyone's
    vector: str = "vector"

    def names(self) -> list[str]:
        """Every field that is read back."""
        return [
            name for name in (self.text, self.document, self.title, self.section, self.position, self.version) if name
        ]


DEFAULT_FIELDS = Fields()


async def post(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], headers: Mapping[str, str], deadline: Deadline
) -> Any:
    """The JSON reply. Raises SourceError, aiohttp.ClientError or TimeoutError; never reads without bound."""
    limit = aiohttp.ClientTimeout(total=max(deadline.remaining_s(), 0.001))
    sent = {"content-type": "application/json", **headers}
    async with session.post(url, data=orjson.dumps(body), headers=sent, timeout=limit, allow_redirects=False) as reply:
        data = b""
        async for piece in reply.content.iter_any():
            data += piece
            if len(data) > MAX_REPLY_BYTES:
                raise SourceError(f"{url}: the reply is larger than {MAX_REPLY_BYTES} bytes")
    if reply.status != 200:
        raise SourceError(f"{url}: HTTP {reply.status}: {data[:200].decode('utf-8', 'replace')}")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{url}: the reply is not JSON") from error


def passage(collection: str, found: Mapping[str, Any], fields: Fields, score: float) -> Passage | None:
    """A hit as a passage; None where it has no text."""
    text = str(found.get(fields.text) or "").strip()[:MAX_TEXT_CHARS]
    if not text:
        return None
    position = str(found.get(fields.position))
    title = str(found.get(fields.title) or "")
    return Passage(
        collection=collection,
        document=str(found.get(fields.document) or title or _digest(text)),
        version=str(found.get(fields.version) or _digest(text)),
        position=int(position) if position.isdecimal() else 0,
        title=title,
        section=str(found.get(fields.section) or ""),
        text=text,
        score=score,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
