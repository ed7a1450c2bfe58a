"""The seam to the network: one HTTP request, one reply. ``lean`` serves the common case, ``general`` everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from gateway.clock import Deadline
from gateway.values import dataclass


class ConnectFailed(ConnectionError):
    """There is no connection: refused, unknown host, a certificate that does not fit."""


class ConnectLate(ConnectFailed):
    """There was no connection in time."""


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Where requests of one kind go, and the headers that are the same in all of them. It is made once and kept, so
    that a client can remember what it makes of it."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpReply(Protocol):
    """Status and headers are in; the body follows."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; of a repeated one the last value."""

    def rest(self) -> bytes | None:
        """What is left of the body, where all of it has come; None: ``read``."""

    async def read(self, until: Deadline) -> bytes:
        """All that has come since the last call, waiting for some; empty at the end of the body.

        Raises TimeoutError, ConnectionError (the body was cut short or is not HTTP).
        """

    def close(self) -> None:
        """Be done with it. A reply read to its end gives its connection back, any other one's is dropped."""


class Http(Protocol):
    """Sends requests over connections that it keeps. No redirects, no cookies, no decompression."""

    async def request(
        self, way: Way, headers: Mapping[str, str], body: bytes | None, until: Deadline, connect_s: float
    ) -> HttpReply:
        """The reply, once its headers are in. ``headers``: those of this request alone.

        Raises ConnectFailed, TimeoutError, ConnectionError.
        """

    async def close(self) -> None: ...
