"""Replies that are not answers, as errors of ours (pure)."""

from __future__ import annotations

import math
import re

from gateway.chat import Deployment, Json
from gateway.errors import UpstreamRejected, error_payload

MAX_RETRY_AFTER_S = 3600.0
_REQUESTS_LEFT, _TOKENS_LEFT = "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"
_QUOTAS = ((_REQUESTS_LEFT, "x-ratelimit-reset-requests"), (_TOKENS_LEFT, "x-ratelimit-reset-tokens"))
# Local servers are given any word as a key, such as "x": that is no secret, and stands in every message.
LEAST_KEY = 8  # characters
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")  # 6m0s, 12ms


def rejected(deployment: Deployment, status: int, headers: Json, body: bytes) -> UpstreamRejected:
    """The provider's complaint, without the key that it may quote: that is not the caller's."""
    if len(deployment.api_key) >= LEAST_KEY:
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


def exhausted_s(headers: Json) -> float | None:
    """Seconds in which the provider will take nothing more, by the quota headers of a reply; None: it will, or it does
    not say. OpenAI writes "6m0s" and "12ms", others plain seconds."""
    if headers.get(_REQUESTS_LEFT) != "0" and headers.get(_TOKENS_LEFT) != "0":
        return None
    longest = None
    for remaining, reset in _QUOTAS:
        if headers.get(remaining) == "0" and (seconds := _seconds(str(headers.get(reset, "")))) is not None:
            longest = max(seconds, longest or 0.0)
    return longest


def _seconds(text: str) -> float | None:
    try:
        return min(max(0.0, float(text)), MAX_RETRY_AFTER_S)
    except ValueError:
        found = _DURATION.fullmatch(text) if text else None
    if found is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return min(3600 * hours + 60 * minutes + seconds + milliseconds / 1000, MAX_RETRY_AFTER_S)
