from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.replay import MAX_PIECES, chunks, pieces, replay
from gateway.chat import AnswerEvent, CacheHit, CacheOutcome, Closed, Delta, Opened, ServedBy
from tests.cache.makers import Wall, answer, entry, passage


@given(st.text())
def test_the_pieces_rejoin_byte_for_byte(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert len(cut) <= MAX_PIECES
    assert all(cut)


def test_a_hit_is_replayed_as_a_provider_would_have_streamed_it() -> None:
    sent: list[AnswerEvent] = []
    wall = Wall()
    kept = entry(text="연차는 15일 입니다.\n\n자세히…", citations=(passage(),))
    wall.now += 30
    replay(CacheHit(kept, CacheOutcome.SEMANTIC, 0.97), sent.append, wall_clock=wall)
    opened, *deltas, closed = sent
    assert isinstance(opened, Opened)
    assert (opened.served_by, opened.cache, opened.age_s, opened.similarity) == (
        ServedBy.CACHE, CacheOutcome.SEMANTIC, 30.0, 0.97,
    )  # fmt: skip
    assert opened.citations == kept.citations
    assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == kept.answer.text
    assert closed == Closed(kept.answer)


def merged(parts: list[Any]) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for part in parts:
        delta = part["choices"][0]["delta"]
        for name, value in delta.items():
            if name == "tool_calls":
                message.setdefault(name, []).extend({k: v for k, v in call.items() if k != "index"} for call in value)
            elif isinstance(value, str) and name != "role":
                message[name] = message.get(name, "") + value
            else:
                message[name] = value
    return message


def test_tool_calls_and_refusals_survive() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": "나"}'}}
    for kept in (
        answer("", "tool_calls", tool_calls=[call, {**call, "id": "c2"}]),
        answer("", refusal="그건 안 됩니다"),
    ):
        parts = list(chunks(kept, 0.0))
        assert merged(parts) == kept.choices[0]["message"]
        assert parts[-1]["choices"][0]["finish_reason"] == kept.finish_reason


def test_every_replay_has_its_own_id_and_date() -> None:
    one, other = next(chunks(answer(), 1.0)), next(chunks(answer(), 2.0))
    assert one["id"] != other["id"]
    assert (one["created"], other["created"]) == (1, 2)
    assert one["object"] == "chat.completion.chunk"
