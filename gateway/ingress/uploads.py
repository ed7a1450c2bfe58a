"""What the pages of files and vector stores share: a body, a page of a list, a multipart upload to disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import BodyTooLarge, InvalidRequest
from gateway.ingress import openai
from gateway.retrieval.uploads.holdings import Page

T = TypeVar("T")

PREFIXES = ("/v1", "/openai/v1", "/openai")
MAX_FIELD_BYTES = 4096
UPLOAD_S = 900.0  # a whole upload; and 30 s for each piece of it
PIECE_S = 30.0
_BODY_S = 30.0


async def body_of(http_request: web.Request) -> dict[str, Any]:
    """The JSON object of a small request; {} where there is no body."""
    try:
        async with asyncio.timeout(_BODY_S):
            raw = await http_request.read()
    except TimeoutError:
        raise _late() from None
    return openai.parse_object(raw) if raw else {}


def reply(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def page_of(http_request: web.Request, most: int = 100, usual: int = 20) -> Page:
    """``limit``, ``order``, ``after``, ``before`` of the query."""
    query = http_request.query
    limit = query.get("limit", str(usual))
    if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:9]) <= most:
        raise InvalidRequest(f"limit must be a number from 1 to {most}", param="limit")
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order must be asc or desc", param="order")
    return Page(int(limit), order == "asc", query.get("after", ""), query.get("before", ""))


def one_more(page: Page) -> Page:
    """The same page and one item, which tells whether there are more."""
    return Page(page.limit + 1, page.ascending, page.after, page.before)


def listed(found: Sequence[T], page: Page, shown: Callable[[T], dict[str, Any]]) -> web.Response:
    """A list object of what was ``found`` for one more than the page."""
    data = [shown(item) for item in found[: page.limit]]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return reply({"object": "list", "data": data, **ends, "has_more": len(found) > page.limit})


def text_of(body: dict[str, Any], name: str, most: int, default: str = "") -> str:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > most:
        raise InvalidRequest(f"{name} must be a text of at most {most} characters", param=name)
    return value


@dataclass(slots=True)
class Upload:
    filename: str = ""
    fields: dict[str, str] = field(default_factory=dict)


async def receive(http_request: web.Request, part: Path, max_bytes: int) -> Upload:
    """Write the ``file`` of a multipart form to ``part`` as it arrives, never more than ``max_bytes``."""
    if not http_request.content_type.startswith("multipart/"):
        raise InvalidRequest("send the file as multipart/form-data, in a part named file", param="file")
    try:
        async with asyncio.timeout(UPLOAD_S):
            upload = await _receive(http_request, part, max_bytes)
    except TimeoutError:
        raise _late() from None
    except (
        ValueError,
        AssertionError,
        RuntimeError,
        HttpProcessingError,
    ) as error:  # what aiohttp raises on a damaged form
        raise InvalidRequest("the form cannot be read; send multipart/form-data", param="file") from error
    if not upload.filename:
        raise InvalidRequest("the form has no part named file with a filename", param="file")
    return upload


async def _receive(http_request: web.Request, part: Path, max_bytes: int) -> Upload:
    upload = Upload()
    form = await http_request.multipart()
    while (piece := await form.next()) is not None:
        if not isinstance(piece, BodyPartReader):
            raise InvalidRequest("the form has a form inside", param="file")
        if piece.name == "file" and not upload.filename:
            upload.filename = piece.filename or "file"
            await _write(piece, part, max_bytes)
        elif len(upload.fields) < 16:
            upload.fields[str(piece.name)] = (await _bounded(piece)).decode("utf-8", "replace")
        else:
            raise InvalidRequest("the form has too many parts")
    return upload


async def _write(piece: BodyPartReader, part: Path, max_bytes: int) -> None:
    size = 0
    with await asyncio.to_thread(part.open, "wb") as target:
        while data := await asyncio.wait_for(piece.read_chunk(256 * 1024), PIECE_S):
            size += len(data)
            if size > max_bytes:
                raise BodyTooLarge(f"the file is larger than {max_bytes >> 20} MB (files.max_file_mb): split it")
            await asyncio.to_thread(target.write, data)


async def _bounded(piece: BodyPartReader) -> bytes:
    value = b""
    while data := await asyncio.wait_for(piece.read_chunk(MAX_FIELD_BYTES), PIECE_S):
        value += data
        if len(value) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"the part {str(piece.name)[:40]!r} is too long", param=str(piece.name)[:40])
    return value


def _late() -> InvalidRequest:
    error = InvalidRequest("the body did not arrive in time", code="request_timeout")
    error.status = 408
    return error
