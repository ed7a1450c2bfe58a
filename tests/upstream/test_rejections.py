"""What replies that are no answers say: of a provider's quota, and to the caller."""

from __future__ import annotations

import orjson
import pytest

from gateway.chat import Deployment
from gateway.upstream.rejections import exhausted_s, rejected


@pytest.mark.parametrize(
    ("left", "reset", "seconds"),
    [
        ("0", "6m0s", 360.0),
        ("0", "1h2m3.5s", 3600.0),  # believed for an hour at most
        ("0", "12ms", 0.012),
        ("0", "1.5s", 1.5),
        ("0", "20", 20.0),
        ("1", "20", None),
        ("0", "", None),
        ("0", "soon", None),
        ("0", "-3", 0.0),
    ],
)
def test_a_used_up_quota_says_when_it_is_back(left: str, reset: str, seconds: float | None) -> None:
    headers = {"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": reset}
    assert exhausted_s(headers) == (pytest.approx(seconds) if seconds is not None else None)


def test_the_longer_of_two_waits_counts_and_no_headers_mean_nothing() -> None:
    both = {f"x-ratelimit-remaining-{what}": "0" for what in ("requests", "tokens")}
    resets = {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "2s"}
    assert exhausted_s(both | resets) == 2.0
    assert exhausted_s({}) is None


@pytest.mark.parametrize(
    ("api_key", "told"),
    [("sk-secret-1", "no access for *** to model x"), ("x", "no access for sk-secret-1 to model x")],
)
def test_the_key_is_kept_from_the_caller_but_a_placeholder_does_not_garble_the_message(api_key: str, told: str) -> None:
    deployment = Deployment("d", "openai", "http://127.0.0.1:1/v1", "m", api_key)
    body = orjson.dumps({"error": {"message": "no access for sk-secret-1 to model x"}})
    error = rejected(deployment, 403, {}, body)
    assert (str(error), error.body()["error"]["message"]) == (told, told)
