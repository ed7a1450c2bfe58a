"""Whatever JSON comes in: a checked request, or an InvalidRequest. Nothing else is ever raised."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache.keys import Sharing, cache_keys
from gateway.chat import ChatRequest, Tenant
from gateway.errors import InvalidRequest, UpstreamBroken
from gateway.ingress.openai import MAX_DEPTH, parse_chat, parse_object
from gateway.ingress.responses_reply import ResponseWriter
from gateway.ingress.responses_request import chat_body
from gateway.ingress.wishes import wishes_in, wishes_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
PARTS = st.lists(JSON | st.fixed_dictionaries({"type": st.just("text") | JSON, "text": TEXT | JSON}), max_size=3)
MESSAGE = JSON | st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"]) | JSON},
    optional={"content": TEXT | PARTS | JSON, "name": JSON, "tool_calls": JSON},
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "model": TEXT | JSON,
        "messages": st.lists(MESSAGE, max_size=3) | JSON,
        "stream": JSON,
        "stream_options": JSON,
        "temperature": JSON,
        "tools": JSON,
        "n": JSON,
        "ocho": st.dictionaries(st.sampled_from(["cache", "deadline_ms", "tags", "cache_namespace"]), JSON) | JSON,
    },
)
SAID = st.fixed_dictionaries({"type": st.sampled_from(["input_text", "refusal"]) | JSON, "text": TEXT | JSON})
FORMAT = st.fixed_dictionaries({"type": st.just("json_schema") | JSON})
ITEM = JSON | st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "developer", "assistant"]) | JSON},
    optional={
        "type": st.sampled_from(["message", "file_search_call", "reasoning"]) | JSON,
        "content": TEXT | JSON | st.lists(JSON | SAID),
    },
)
RESPONSE = st.fixed_dictionaries(
    {"model": TEXT, "input": TEXT | st.lists(ITEM, max_size=3) | JSON},
    optional={
        "instructions": TEXT | JSON, "stream": st.booleans() | JSON, "store": JSON, "include": st.lists(JSON) | JSON,
        "text": st.fixed_dictionaries({"format": FORMAT | JSON}) | JSON,
        "reasoning": st.fixed_dictionaries({"effort": JSON}) | JSON, "metadata": JSON, "tools": JSON, "seed": JSON,
        "temperature": JSON, "max_output_tokens": JSON, "truncation": JSON,
    },
)  # fmt: skip
SHARING = Sharing("m", "tenant", "k", frozenset(), (), "", "", "")


def parsed(body: dict[str, Any]) -> ChatRequest | None:
    try:
        wishes_of({}, body)
        return parse_chat(body)
    except InvalidRequest as error:
        orjson.dumps(error.body())
        return None


@settings(max_examples=300)
@given(RESPONSE)
def test_any_response_is_either_asked_for_as_a_chat_or_clearly_refused(body: dict[str, Any]) -> None:
    body = parse_object(orjson.dumps(body))
    try:
        request = parse_chat(chat_body(body))
    except InvalidRequest as error:
        orjson.dumps(error.body())
        return
    assert cache_keys(b"secret", Tenant("t"), request, SHARING)
    assert request.messages
    failed = ResponseWriter(body, request, timing=False).failed(UpstreamBroken("no"))  # before there was an answer
    assert failed.startswith(b"event: error\ndata: ")
    assert failed.count(b"\n\n") == 1


@settings(max_examples=300)
@given(BODY)
def test_any_body_is_either_a_request_with_a_cache_key_or_a_clear_refusal(body: dict[str, Any]) -> None:
    request = parsed(parse_object(orjson.dumps(body)))
    if request is not None:
        assert request.requested_model == request.body["model"] == body["model"]
        assert "ocho" not in request.body
        assert request.body["messages"] == body["messages"]
        cache_keys(b"secret", Tenant("t"), request, SHARING)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_either_an_object_or_a_refusal(body: bytes) -> None:
    try:
        assert isinstance(parse_object(body), dict)
    except InvalidRequest as error:
        orjson.dumps(error.body())


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    assert parse_object('\ufeff{"model": "m"}'.encode()) == {"model": "m"}


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=0xDCFF, exclude_categories=["Co"]), max_size=20)
NAMES = ("cache-control", "x-ocho-cache", "x-ocho-cache-ttl", "x-ocho-cache-namespace", "x-ocho-deadline-ms",
         "x-ocho-tags", "x-ocho-draft")  # fmt: skip
SENSIBLE = st.sampled_from(["on", "5", "max-age=5", "max-age=" + "9" * 400, "no-store, only-if-cached", "1e3", "a,b"])


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES), HEADER | SENSIBLE))
def test_any_headers_are_either_wishes_or_a_refusal(headers: dict[str, str]) -> None:
    try:
        wishes = wishes_of(wishes_in(headers), {})
    except InvalidRequest as error:
        orjson.dumps(error.body())
        return
    assert wishes.deadline_s is None or 0 < wishes.deadline_s <= 3600
    assert all(tag.isprintable() for tag in wishes.cache.tags)
    orjson.dumps([wishes.cache.namespace, wishes.cache.tags])  # fit to be kept


def test_headers_win_over_the_body() -> None:
    body: dict[str, Any] = {"ocho": {"cache": "off", "deadline_ms": 1000, "tags": ["a", "b"]}}
    wishes = wishes_of(wishes_in({"x-ocho-cache": "on"}), body)
    assert (wishes.cache.read, wishes.cache.write, wishes.cache.asked) == (True, True, True)
    assert (wishes.deadline_s, wishes.cache.tags, body) == (1.0, ("a", "b"), {})


@pytest.mark.parametrize(("levels", "fine"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_nesting_has_a_limit(levels: int, fine: bool) -> None:
    body = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    if fine:
        parse_object(body)
    else:
        with pytest.raises(InvalidRequest, match="levels deep"):
            parse_object(body)


def test_what_of_a_message_is_plain_text_is_told_apart() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    text = {"type": "text", "text": "안녕"}
    contents: list[Any] = ["안녕", [text, text], [text, image], None]
    body = {"model": "m", "messages": [{"role": "user", "content": content} for content in contents]}
    messages = parse_chat(body).messages
    assert [m.text for m in messages] == ["안녕", "안녕\n안녕", "안녕", ""]
    assert [m.plain for m in messages] == [True, True, False, False]
