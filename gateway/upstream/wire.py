"""Where and how a request goes to each kind of provider (pure): URL, headers, body."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import orjson

from gateway.chat import ChatRequest, Deployment
from gateway.ports import Outgoing
from gateway.upstream.transport import Way

AZURE_OPERATIONS = frozenset({"chat/completions", "completions", "embeddings", "images/generations",
                              "audio/transcriptions", "audio/translations", "audio/speech"})  # fmt: skip


def target(deployment: Deployment, path: str, model: str, query: str = "") -> str:
    """URL of ``path`` ("chat/completions", "files", …) at the deployment.

    Azure addresses models by path, ``/openai/deployments/{deployment}/{operation}?api-version=``
    (Azure OpenAI REST reference); without an api_version its v1 surface is used, which is OpenAI's.
    """
    base = deployment.base_url.rstrip("/")
    if deployment.kind != "azure":
        return _with_query(f"{base}/{path}", query)
    if not deployment.api_version:
        return _with_query(f"{base}/openai/v1/{path}", query)
    api_version = urlencode({"api-version": deployment.api_version})
    if path in AZURE_OPERATIONS:
        return f"{base}/openai/deployments/{quote(deployment.model or model, safe='')}/{path}?{api_version}"
    return _with_query(f"{base}/openai/{path}?{api_version}", query)


def way(
    deployment: Deployment, method: str, path: str, model: str, query: str = "", content_type: str = "application/json"
) -> Way:
    """How requests for ``path`` reach the deployment, with its key."""
    headers = {"content-type": content_type, "accept-encoding": "identity"}
    if deployment.api_key:
        if deployment.kind == "azure":
            headers["api-key"] = deployment.api_key
        else:
            headers["authorization"] = f"Bearer {deployment.api_key}"
    return Way(method, target(deployment, path, model, query), headers)


def chat_body(deployment: Deployment, request: ChatRequest) -> bytes:
    """The streamed form of ``request`` for this deployment.

    Upstream is always asked to stream: first-token timeouts, failover and coalescing need the tokens as they come.
    """
    body: dict[str, Any] = {**request.body, "stream": True, "model": deployment.model or request.requested_model}
    if deployment.stream_usage:
        body["stream_options"] = {**(request.body.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(body)


def forward_body(deployment: Deployment, sent: Outgoing) -> bytes | None:
    """The bytes as they came, unless the deployment knows the model by another name."""
    name = deployment.model or sent.model
    if sent.json is None or sent.json.get("model") == name:
        return sent.body
    return orjson.dumps({**sent.json, "model": name})


def _with_query(url: str, query: str) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"
