"""Around every request: its id, its error body, its line in the access log."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import BodyTooLarge, GatewayError, InvalidRequest, NotFound
from gateway.metrics import Metrics

log = structlog.get_logger()

REQUEST_ID = web.RequestKey("request_id", str)
OPERATION = web.RequestKey("operation", str)  # set by handlers: what was asked for, as a bounded word
MODEL = web.RequestKey("model", str)
_SAFE_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


def request_id(http_request: web.Request) -> str:
    """The caller's ``x-request-id`` if it is harmless in a log and a header, else a fresh one."""
    given = http_request.headers.get("x-request-id", "")
    return given if _SAFE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def error_response(error: GatewayError) -> web.Response:
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
        headers["retry-after-ms"] = str(round(error.retry_after_s * 1000))
    return web.Response(
        status=error.status, headers=headers, body=orjson.dumps(error.body()), content_type="application/json"
    )


def around(metrics: Metrics) -> Middleware:
    """The one middleware. Errors become OpenAI error bodies here and nowhere else."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.monotonic()
        request[REQUEST_ID] = request_id(request)
        metrics.request_started()
        error_type = ""
        try:
            response = await _answered(request, handler)
            if response.status >= 400:
                error_type = str(response.status)
            if not response.prepared:
                response.headers.setdefault("x-request-id", request[REQUEST_ID])
            return response
        except (asyncio.CancelledError, ConnectionResetError):
            error_type = "client_left"
            metrics.client_left()
            raise
        finally:
            seconds = time.monotonic() - began
            operation = request.get(OPERATION, "other")
            metrics.request_ended(operation, request.get(MODEL, ""), error_type, seconds)
            log.info(
                "request", request_id=request[REQUEST_ID], method=request.method, operation=operation,
                model=request.get(MODEL, ""), seconds=round(seconds, 4), error=error_type,
            )  # fmt: skip

    return middleware


async def _answered(http_request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(http_request)
    except GatewayError as error:
        if error.status >= 500:
            log.warning("request failed", request_id=http_request[REQUEST_ID], error=str(error), code=error.code)
        return error_response(error)
    except web.HTTPRequestEntityTooLarge:
        return error_response(BodyTooLarge("the body is larger than this gateway accepts (server.max_body_mb)"))
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
    except Exception:
        log.exception("unexpected error", request_id=http_request[REQUEST_ID])
        return error_response(GatewayError("the gateway failed; its log has the request id", code="internal_error"))


def _with_status(error: GatewayError, status: int) -> GatewayError:
    error.status = status
    return error
