"""Where a request goes at each kind of provider, with which headers and body."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from gateway.chat import ChatRequest, Deployment
from gateway.ports import Outgoing
from gateway.upstream import wire

PLAIN = Deployment("p", "openai", "https://h/v1/", "", api_key="k")
RENAMED = Deployment("r", "openai", "https://h/v1", "real-name")
CLASSIC = Deployment("c", "azure", "https://x.openai.azure.com", "prod/4o", "k", "2024-10-21")
NEW = Deployment("n", "azure", "https://x.openai.azure.com", "", "k")


@pytest.mark.parametrize(
    ("deployment", "path", "query", "url"),
    [
        (PLAIN, "chat/completions", "", "https://h/v1/chat/completions"),
        (PLAIN, "files", "after=a%26b", "https://h/v1/files?after=a%26b"),
        (CLASSIC, "embeddings", "", "https://x.openai.azure.com/openai/deployments/prod%2F4o/embeddings?api-version=2024-10-21"),
        (CLASSIC, "files", "limit=2", "https://x.openai.azure.com/openai/files?api-version=2024-10-21&limit=2"),
        (NEW, "chat/completions", "", "https://x.openai.azure.com/openai/v1/chat/completions"),
    ],
)  # fmt: skip
def test_urls(deployment: Deployment, path: str, query: str, url: str) -> None:
    assert wire.target(deployment, path, "asked", query) == url


def test_keys_go_where_each_provider_looks_for_them() -> None:
    def said(deployment: Deployment) -> Mapping[str, str]:
        return wire.way(deployment, "POST", "embeddings", "asked").headers

    assert said(PLAIN)["authorization"] == "Bearer k"
    assert said(CLASSIC)["api-key"] == "k"
    assert not {"authorization", "api-key"} & set(said(RENAMED))


def test_a_chat_is_always_streamed_upstream_and_keeps_every_field() -> None:
    body = {"model": "asked", "messages": [], "odd": {"x": [1]}, "stream_options": {"other": 1}}
    request = ChatRequest("asked", (), False, False, body)
    sent = orjson.loads(wire.chat_body(RENAMED, request))
    assert sent == {**body, "model": "real-name", "stream": True,
                    "stream_options": {"other": 1, "include_usage": True}}  # fmt: skip
    shy = Deployment("s", "openai", "https://h", "", stream_usage=False)
    assert orjson.loads(wire.chat_body(shy, request))["stream_options"] == {"other": 1}


def test_a_relayed_body_is_untouched_unless_its_model_has_another_name() -> None:
    raw = b'{ "model":"asked" }'
    sent = Outgoing("POST", "embeddings", "", "asked", raw, {"model": "asked"}, "application/json", False)
    assert wire.forward_body(PLAIN, sent) is raw
    assert orjson.loads(wire.forward_body(RENAMED, sent) or b"") == {"model": "real-name"}
