from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache.keys import NEUTRAL, UNDERSTOOD, Keys, cache_keys
from gateway.chat import ChatRequest, Tenant
from tests.cache.makers import SECRET, ask, keys_of, message, sharing

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
SYSTEM = message("system", "너는 사내 도우미다.")


def test_the_same_request_has_the_same_key() -> None:
    assert keys_of(ask(temperature=0, top_p=1)) == keys_of(ask(top_p=1.0, temperature=0.0))


def test_composed_and_decomposed_hangul_are_one_question() -> None:
    question = "연차는 며칠인가요?"
    assert keys_of(ask(unicodedata.normalize("NFD", question))) == keys_of(ask(question))


def test_fields_that_cannot_change_the_answer_do_not_count() -> None:
    plain = keys_of(ask())
    fields: dict[str, Any] = {
        "stream": True, "stream_options": {"include_usage": True}, "user": "u", "metadata": {"a": "b"}, "store": True,
        "service_tier": "flex", "safety_identifier": "s", "prompt_cache_key": "p", "seed": None,
    }  # fmt: skip
    for name, value in fields.items():
        assert keys_of(ask(**{name: value})) == plain, name


def test_a_field_at_a_default_that_all_providers_have_does_not_count() -> None:
    plain = keys_of(ask())
    fields: dict[str, Any] = {
        "n": 1, "logprobs": False, "response_format": {"type": "text"}, "modalities": ["text"], "tools": [],
        "logit_bias": {},
    }  # fmt: skip
    for name, value in fields.items():
        assert keys_of(ask(**{name: value})) == plain, name
    others: dict[str, Any] = {"frequency_penalty": 0, "stop": [], "n": 2, "reasoning_effort": "low"}
    for name, value in others.items():
        assert keys_of(ask(**{name: value})).scope != plain.scope, name


def test_another_wording_shares_the_scope_but_not_the_key() -> None:
    one, other = keys_of(ask("연차는 며칠?")), keys_of(ask("연차 며칠이에요?"))
    assert one.scope == other.scope
    assert one.exact != other.exact


CHANGES: dict[str, tuple[ChatRequest, dict[str, Any]]] = {
    "model": (ask(model="other"), {}),
    "answering model": (ask(), {"answers_with": "gpt-4o-mini"}),
    "collections": (ask(), {"collections": ("hr",)}),
    "key": (ask(), {"share": "key", "key_id": "k2"}),
    "groups": (ask(), {"groups": frozenset({"board"})}),
    "embedder": (ask(), {"embedder": "ada"}),
    "prompt version": (ask(), {"prompt_version": "2"}),
    "namespace": (ask(), {"namespace": "beta"}),
    "system prompt": (ask("연차는 며칠인가요?", SYSTEM), {}),
    "earlier turn": (ask("연차는 며칠인가요?", message("user", "인턴입니다"), message("assistant", "네")), {}),
    "temperature": (ask(temperature=0.5), {}),
    "max_tokens": (ask(max_tokens=5), {}),
    "seed": (ask(seed=1), {}),
    "stop": (ask(stop=["\n"]), {}),
    "tools": (ask(tools=[{"type": "function", "function": {"name": "f"}}]), {}),
    "schema": (ask(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}), {}),
    "unknown field": (ask(top_k=3), {}),
    "name of the speaker": (
        ChatRequest("handbook", (message("user", "연차는 며칠인가요?", name="kim"),), False, False, {}),
        {},
    ),
    "image": (
        ask([{"type": "text", "text": "연차는 며칠인가요?"}, {"type": "image_url", "image_url": {"url": "x"}}]),
        {},
    ),
    "language": (ask("How many days of leave?"), {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_can_change_the_answer_changes_the_scope(change: str) -> None:
    request, facts = CHANGES[change]
    assert keys_of(request, **facts).scope != keys_of(ask()).scope


def test_tenants_never_meet_unless_all_share() -> None:
    assert keys_of(ask(), "acme").scope != keys_of(ask(), "globex").scope
    assert keys_of(ask(), "acme", share="all").scope == keys_of(ask(), "globex", share="all").scope


def test_access_groups_separate_even_those_who_share_with_all() -> None:
    board = cache_keys(SECRET, Tenant("acme", frozenset({"board"})), ask(), sharing(share="all"))
    assert board.scope != keys_of(ask(), share="all").scope


def test_without_the_secret_no_key_can_be_made() -> None:
    assert keys_of(ask(), secret=b"another") != keys_of(ask())


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ask(n=2), "n"),
        (ask(temperature=1.5), "temperature"),
        (ask(tools=[{"type": "function"}]), "tools"),
        (ask(top_k=3), "unknown field top_k"),
        (ask(" "), "no question"),
        (ask([{"type": "text", "text": "?"}, {"type": "image_url"}]), "image"),
        (ask("그럼?", message("assistant", None, tool_calls=[{"id": "c"}])), ""),
        (ask(logprobs=True), "logprobs"),
    ],
)
def test_meaning_is_not_used_where_it_could_mislead(request_: ChatRequest, reason: str) -> None:
    keys = keys_of(request_)
    assert keys.reason == reason
    assert keys.semantic == (reason == "")


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_text_cannot_move_between_turns(a: str, b: str, c: str, d: str) -> None:
    one, other = ask(b, message("system", a)), ask(d, message("system", c))
    same = [unicodedata.normalize("NFC", text) for text in (a, b)] == [
        unicodedata.normalize("NFC", text) for text in (c, d)
    ]
    assert (keys_of(one).exact == keys_of(other).exact) == same


@given(st.dictionaries(st.text(min_size=1, max_size=8), json_values, max_size=4))
def test_any_body_has_a_key_and_any_new_field_changes_it(fields: dict[str, Any]) -> None:
    fields = {name: value for name, value in fields.items() if name not in NEUTRAL | UNDERSTOOD}
    body = ask().body
    request = ChatRequest("handbook", ask().messages, False, False, {**body, **fields})
    assert (keys_of(request).scope == keys_of(ask()).scope) == (not fields)


@given(st.text(max_size=10), st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_tenant_and_namespace_cannot_be_confused(a: str, b: str, c: str, d: str) -> None:
    one, other = keys_of(ask(), a, namespace=b), keys_of(ask(), c, namespace=d)
    normal = [unicodedata.normalize("NFC", text) for text in (a, b, c, d)]
    assert (one.scope.digest == other.scope.digest) == (normal[:2] == normal[2:])


PARTS: dict[str, tuple[Any, ...]] = {  # one value of each makes a request; whoever shares an answer shares all of them
    "tenant": ("acme", "globex", "acme "),
    "groups": (frozenset(), frozenset({"hr"}), frozenset({"hr", "board"})),
    "key": ("k1", "k2"),
    "model": ("handbook", "handbook-2"),
    "answers_with": ("gpt-4o", "gpt-4o-mini"),
    "collections": ((), ("hr",), ("hr", "legal")),
    "namespace": ("", "beta"),
    "system": (None, "너는 인사팀이다.", "You are HR."),
    "earlier": ((), (("user", "인턴입니다"), ("assistant", "네")), (("user", "인턴입니다"), ("assistant", "아니요"))),
    "tools": (
        None,
        [{"type": "function", "function": {"name": "f"}}],
        [{"type": "function", "function": {"name": "g"}}],
    ),
    "response_format": (None, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "a"}}),
    "temperature": (None, 0.0, 0.7),
    "max_tokens": (None, 100),
    "image": (None, "https://x/1.png", "https://x/2.png"),
    "language": ("연차는 며칠인가요?", "How many days of leave?"),
}


def assembled(parts: dict[str, Any]) -> Keys:
    text, image = parts["language"], parts["image"]
    shown = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}] if image else text
    earlier = [message("system", parts["system"])] if parts["system"] else []
    earlier += [message(*turn) for turn in parts["earlier"]]
    fields = {n: parts[n] for n in ("tools", "response_format", "temperature", "max_tokens") if parts[n] is not None}
    facts = sharing(
        share="key",
        key_id=parts["key"],
        groups=parts["groups"],
        answers_with=parts["answers_with"],
        collections=parts["collections"],
        namespace=parts["namespace"],
    )
    tenant = Tenant(parts["tenant"], parts["groups"])
    return cache_keys(SECRET, tenant, ask(shown, *earlier, model=parts["model"], **fields), facts)


picked = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PARTS.items()})


@settings(max_examples=600)
@given(picked, st.sets(st.sampled_from(sorted(PARTS)), max_size=2), st.data())
def test_two_requests_share_a_scope_only_where_everything_agrees(
    one: dict[str, Any], changed: set[str], data: st.DataObject
) -> None:
    other = one | {name: data.draw(st.sampled_from(PARTS[name])) for name in changed}
    assert (assembled(one).scope == assembled(other).scope) == (one == other)
