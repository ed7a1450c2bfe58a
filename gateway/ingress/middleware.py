"""Around every request: its id, its error body, its line in the access log."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import time
from collections.abc import Awaitable
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import BodyTooLarge, GatewayError, InvalidRequest, NotFound, Overloaded
from gateway.ingress.caller import CHAT, Caller, Reply, fresh_id
from gateway.ingress.caller import MODEL as MODEL
from gateway.ingress.caller import OPERATION as OPERATION
from gateway.ingress.caller import REQUEST_ID as REQUEST_ID
from gateway.ingress.head import request_id
from gateway.instruments import later
from gateway.logs import AccessLog
from gateway.metrics import Chat, Metrics

log = structlog.get_logger()
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})  # of a disk
CLIENT_LEFT = 499  # as nginx calls it
MANY = 256  # requests that are told at once

# Id, method, operation, model, seconds, error type, how a chat ended, and when.
_End = tuple[str, str, str, str, float, str, Chat | None, float]


def error_reply(error: GatewayError) -> Reply:
    headers = {"content-type": "application/json", **error.headers}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
        headers["retry-after-ms"] = str(round(error.retry_after_s * 1000))
    return Reply(error.status, orjson.dumps(error.body()), headers)


def error_response(error: GatewayError) -> web.Response:
    reply = error_reply(error)
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


class Around:
    """Counts and logs requests. Errors become OpenAI error bodies in this module and nowhere else."""

    def __init__(self, metrics: Metrics, access: AccessLog) -> None:
        self._metrics = metrics
        self._access = access
        self._ends: list[_End] = []
        metrics.writers.append(self.tell)

    async def answered(self, caller: Caller, answer: Awaitable[Reply | None]) -> Reply | None:
        """What ``answer`` comes to for a caller of our own server. Only cancellation is raised."""
        began = time.monotonic()
        error_type = ""
        try:
            reply = await answer
            if reply is not None:
                if reply.status >= 400:
                    error_type = str(reply.status)
                reply.headers.setdefault("x-request-id", caller.id)
            return reply
        except GatewayError as error:
            _told(error, caller.id)
            error_type = str(error.status)
            reply = error_reply(error)
            reply.headers["x-request-id"] = caller.id
            return reply
        except (asyncio.CancelledError, ConnectionError) as error:
            error_type = self._left(caller.chat)
            if isinstance(error, asyncio.CancelledError):
                raise
            return None
        except Exception:
            error_type = "500"
            reply = error_reply(_unexpected(caller.id))
            reply.headers["x-request-id"] = caller.id
            return reply
        finally:
            self._ended(
                "POST", caller.id, caller.operation, caller.model, error_type, caller.chat, time.monotonic() - began
            )

    def at_once(self, caller: Caller, seconds: float) -> None:
        """A request was answered without waiting for anything."""
        self._ended("POST", caller.id, caller.operation, caller.model, "", caller.chat, seconds)

    @property
    def middleware(self) -> Middleware:
        """The same for requests that aiohttp's server took."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = time.monotonic()
            request[REQUEST_ID] = request_id(request.headers) or fresh_id()
            self._metrics.requests_now += 1
            error_type = ""
            try:
                response = await _answered(request, handler)
                if response.status >= 400:
                    error_type = str(response.status)
                if not response.prepared:
                    response.headers.setdefault("x-request-id", request[REQUEST_ID])
                return response
            except (asyncio.CancelledError, ConnectionResetError) as error:
                error_type = self._left(request.get(CHAT))
                if isinstance(error, asyncio.CancelledError):
                    raise
                return web.Response(status=CLIENT_LEFT)  # nobody hears it; raised, aiohttp would log a traceback
            finally:
                self._metrics.requests_now -= 1
                operation, model, chat = request.get(OPERATION, "other"), request.get(MODEL, ""), request.get(CHAT)
                seconds = time.monotonic() - began
                self._ended(request.method, request[REQUEST_ID], operation, model, error_type, chat, seconds)

        return middleware

    def _left(self, chat: Chat | None) -> str:
        """The error type of who hung up: none where a stream had been written to its end, and we only tidied up."""
        if chat is not None and chat[2] and chat[3] == "ok":
            return ""
        self._metrics.client_left()
        return "client_left"

    def _ended(
        self, method: str, id: str, operation: str, model: str, error_type: str, chat: Chat | None, seconds: float
    ) -> None:
        if not self._ends:
            later(self.tell)
        self._ends.append((id, method, operation, model, seconds, error_type, chat, time.time()))
        if len(self._ends) >= MANY:
            self.tell()

    def tell(self) -> None:
        """Count and log the requests that have ended since it was told last. Many one after the other take a third of
        what they take between everything else that a request does."""
        ends, self._ends = self._ends, []
        for id, method, operation, model, seconds, error_type, chat, at in ends:
            self._metrics.requests[operation, model, error_type, chat].append(seconds)
            cache, served_by = (chat[0], chat[1]) if chat is not None else ("", "")
            self._access.request(id, method, operation, model, seconds, error_type, at, cache, served_by)


class Connection(web.RequestHandler):
    """A connection of aiohttp's server. What it cannot read as HTTP reaches no middleware, and is refused here."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The reply to it, the last one of the connection. Raises ConnectionError where another one has begun."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        if request.writer.output_size:
            raise ConnectionError("a reply has begun: there is no place for another")
        said = next(iter((message or "").splitlines()), "").rstrip(" :")
        response = error_response(_with_status(_malformed("HTTP/1.1", said), status))
        response.headers["x-request-id"] = fresh_id()
        response.force_close()
        return response

    def log_exception(self, *args: Any, **given: Any) -> None:
        """What is wrong with a body was told to whoever sent it, and is met once more when its rest is thrown away."""
        if not isinstance(given.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **given)


def _malformed(as_what: str, said: str) -> InvalidRequest:
    return InvalidRequest(f"this cannot be read as {as_what}: {said[:200]}", code="malformed_request")


def _told(error: GatewayError, id: str) -> None:
    if error.status >= 500:
        log.warning("request failed", request_id=id, error=str(error), code=error.code)


def _unexpected(id: str) -> GatewayError:
    log.exception("unexpected error", request_id=id)
    return GatewayError("the gateway failed; its log has the request id", code="internal_error")


async def _answered(http_request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(http_request)
    except GatewayError as error:
        _told(error, http_request[REQUEST_ID])
        return error_response(error)
    except web.HTTPRequestEntityTooLarge:
        return error_response(BodyTooLarge("the body is larger than this gateway accepts (server.max_body_mb)"))
    except web.RequestPayloadError as error:  # not what its content-encoding says, or chunks that are none
        return error_response(_malformed("a body", str(error).split("message:")[-1].strip()))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = error_response(
            _with_status(InvalidRequest(f"this path takes {allowed} only", code="method_not_allowed"), 405)
        )
        response.headers["allow"] = allowed
        return response
    except web.HTTPNotFound:
        return error_response(
            NotFound(f"there is nothing at {http_request.rel_url.raw_path[:200]!a}; the API begins at /v1")
        )
    except web.HTTPException as error:
        return error_response(_with_status(InvalidRequest(error.reason), error.status))
    except ConnectionResetError:
        raise
    except (sqlite3.OperationalError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            return error_response(_unexpected(http_request[REQUEST_ID]))
        log.exception("data folder in trouble", request_id=http_request[REQUEST_ID])
        return error_response(
            Overloaded("the gateway cannot write to its data folder now; is its disk full?", code="storage_unavailable")
        )
    except Exception:
        return error_response(_unexpected(http_request[REQUEST_ID]))


def _with_status(error: GatewayError, status: int) -> GatewayError:
    error.status = status
    return error
