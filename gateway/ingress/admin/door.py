"""The way into ``/admin``: the admin key, or nothing; bodies that are objects; parameters that are known."""

from __future__ import annotations

import asyncio
import re
from codecs import BOM_UTF8
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import InvalidRequest, NotFound
from gateway.ingress.auth import KeyRing
from gateway.ingress.middleware import OPERATION
from gateway.ingress.openai import parse_object

BODY_S = 60.0
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def behind(keys: KeyRing, routes: list[web.RouteDef]) -> list[web.RouteDef]:
    """``routes`` for holders of the admin key alone, and an answer for every other path below ``/admin``."""
    known = ", ".join(sorted({re.sub(r"{(\w+):[^}]*}", r"{\1}", route.path) for route in routes}))

    async def nothing(http_request: web.Request) -> web.StreamResponse:
        raise NotFound(f"there is no such admin page; there are {known}")

    rest = [web.route(method, "/admin{path:(/.*)?}", nothing) for method in METHODS]
    return [web.route(r.method, r.path, _guarded(keys, r.handler)) for r in [*routes, *rest]]


def _guarded(keys: KeyRing, handler: Handler) -> Handler:
    async def guarded(http_request: web.Request) -> web.StreamResponse:
        http_request[OPERATION] = "admin"
        keys.require_operator(http_request.headers)
        return await handler(http_request)

    return guarded


def given(http_request: web.Request, *known: str) -> dict[str, str]:
    """The query's parameters. Raises InvalidRequest for one that is not ``known``, or stands twice."""
    query: Mapping[str, str] = http_request.query
    for name in query:
        _check(name, known)
        if len(http_request.query.getall(name)) > 1:
            raise InvalidRequest(f"{name} is given twice", param=name)
    return dict(query)


async def read(http_request: web.Request) -> bytes:
    """The whole body, without a byte order mark. Raises InvalidRequest where it does not arrive in time."""
    try:
        async with asyncio.timeout(BODY_S):
            return (await http_request.read()).removeprefix(BOM_UTF8)
    except TimeoutError:
        raise InvalidRequest("the body did not arrive in time", code="request_timeout") from None


async def body_of(http_request: web.Request, *known: str) -> dict[str, object]:
    """The JSON object in the body. Raises InvalidRequest for a key that is not ``known``."""
    body = parse_object(await read(http_request))
    for name in body:
        _check(name, known)
    return body


def _check(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InvalidRequest(
            f"unknown parameter {name[:64]!r}; known are {', '.join(known) or 'none'}", param=name[:64]
        )
