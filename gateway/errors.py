"""Everything that can go wrong on purpose, with the HTTP status and OpenAI error type it becomes.

``str(error)`` is safe to show to a caller and says what to do; causes go to the log through ``raise … from``.

    GatewayError
    ├── InvalidRequest 400        the caller must change the request
    │   ├── UnknownModel 404      no such model or deployment in the configuration
    │   ├── NotFound 404          no such path
    │   └── BodyTooLarge 413
    ├── Unauthorized 401          no API key, or one nobody configured
    ├── Forbidden 403             right key, wrong surface
    ├── LimitReached 429          the caller's key has used what it may (``retry_after_s``)
    ├── NotCached 504             ``only-if-cached`` and nothing cached
    ├── Overloaded 503            try later (``retry_after_s``)
    └── UpstreamError 502         the provider's fault
        ├── UpstreamRejected      the provider answered 4xx/5xx: its status and body are passed on
        ├── UpstreamUnreachable 502
        ├── UpstreamTimeout 504
        └── UpstreamBroken 502    the answer stopped in the middle
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

MAX_ERROR_BYTES = 64 * 1024  # of a provider's complaint that are read
TRANSIENT_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
ELSEWHERE_STATUS = frozenset({401, 403, 404})  # a wrong key or name at one deployment says nothing of the next


class GatewayError(Exception):
    """Base of all errors that reach a caller."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})  # that the reply carries besides

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code

    def body(self) -> dict[str, Any]:
        """The OpenAI error object."""
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(GatewayError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class UnknownModel(InvalidRequest):
    status, code = 404, "model_not_found"


class NotFound(InvalidRequest):
    status, code = 404, "not_found"


class BodyTooLarge(InvalidRequest):
    status, code = 413, "request_too_large"


class Unauthorized(GatewayError):
    status, type, code = 401, "authentication_error", "invalid_api_key"


class Forbidden(GatewayError):
    status, type, code = 403, "permission_error", "forbidden"


class LimitReached(GatewayError):
    """What the caller's own key may use, not what the provider allows."""

    status = 429

    def __init__(self, message: str, *, code: str, type: str, retry_after_s: float, headers: Mapping[str, str]) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)
        self.type = type
        self.headers = headers


class NotCached(GatewayError):
    status, type, code = 504, "cache_miss", "only_if_cached"


class Overloaded(GatewayError):
    status, type, code = 503, "overloaded_error", "overloaded"


class UpstreamError(GatewayError):
    """The provider's fault."""

    status, type, code = 502, "upstream_error", "upstream_error"
    retryable = True  # another deployment may do better
    transient = True  # so may the same one, a little later


class UpstreamRejected(UpstreamError):
    """The provider answered with an error. Its status and body are the caller's to see."""

    code = "upstream_rejected"

    def __init__(self, message: str, *, status: int, payload: dict[str, Any] | None, retry_after_s: float | None):
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status
        self.payload = payload
        self.transient = status in TRANSIENT_STATUS
        self.retryable = self.transient or status in ELSEWHERE_STATUS

    def body(self) -> dict[str, Any]:
        return self.payload if self.payload is not None else super().body()


def error_payload(body: bytes) -> dict[str, Any] | None:
    """The OpenAI error that a provider's reply holds, whole; None where it is anything else."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) and "error" in payload else None


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"


class UpstreamTimeout(UpstreamError):
    status, code = 504, "upstream_timeout"


class UpstreamBroken(UpstreamError):
    code = "upstream_broken"


class StoreUnavailable(Exception):
    """The cache's store did not answer in time or not sensibly. Never reaches a caller: it is a miss."""
