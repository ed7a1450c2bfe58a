"""Replies that are not answers, as errors of ours (pure)."""

from __future__ import annotations

import math

from gateway.chat import Deployment, Json
from gateway.errors import UpstreamRejected, error_payload

MAX_RETRY_AFTER_S = 3600.0


def rejected(deployment: Deployment, status: int, headers: Json, body: bytes) -> UpstreamRejected:
    """The provider's complaint, without the key that it may quote: that is not the caller's."""
    if deployment.api_key:
        body = body.replace(deployment.api_key.encode(), b"***")
    payload = error_payload(body)
    message = f"deployment {deployment.name} answered {status}"
    if payload is not None and isinstance(payload["error"], dict):
        message = str(payload["error"].get("message") or message)
    if status < 400:  # a redirect is not followed: upstream addresses come from the configuration only
        message = f"{message} instead of an answer; check its base_url"
        redirected = UpstreamRejected(message, status=502, payload=None, retry_after_s=None)
        redirected.transient = False
        return redirected
    return UpstreamRejected(message, status=status, payload=payload, retry_after_s=retry_after(headers))


def retry_after(headers: Json) -> float | None:
    """Seconds from ``retry-after-ms`` (OpenAI, Azure) or ``retry-after``; an HTTP date there is ignored."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name not in headers:
            continue
        try:
            seconds = float(headers[name]) * unit
        except ValueError:
            continue
        if 0 <= seconds < math.inf:
            return min(seconds, MAX_RETRY_AFTER_S)
    return None
