"""Which HTTP client sends a request."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from gateway.clock import Deadline
from gateway.upstream.lean import serves
from gateway.upstream.transport import Http, HttpReply, Way


class EitherHttp:
    """The lean client for all it serves, the general one for the rest."""

    def __init__(self, lean: Http, general: Http) -> None:
        self._lean = lean
        self._general = general

    def request(
        self, way: Way, headers: Mapping[str, str], body: bytes | None, until: Deadline, connect_s: float
    ) -> Coroutine[Any, Any, HttpReply]:
        http = self._lean if serves(way) else self._general
        return http.request(way, headers, body, until, connect_s)

    async def close(self) -> None:
        await self._lean.close()
        await self._general.close()
