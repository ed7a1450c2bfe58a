from typing import Any

from gateway.chat import has_content
from gateway.upstream.assemble import Assembler, answer_of


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **rest: Any) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **rest}


def test_text_adds_up_and_the_end_closes_it() -> None:
    assembler = Assembler()
    for delta in ({"role": "assistant", "content": ""}, {"content": "연차는 "}, {"content": "15일"}):
        assembler.add(chunk(delta))
    assert not assembler.closed
    assembler.add(chunk({}, "stop", system_fingerprint="fp_1"))
    assembler.add({"model": "m", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}})
    answer = assembler.answer()
    assert assembler.closed
    assert (answer.text, answer.finish_reason, answer.model) == ("연차는 15일", "stop", "m")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.extras == {"system_fingerprint": "fp_1"}


def test_tool_calls_come_together_from_their_fragments() -> None:
    assembler = Assembler()
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
    assembler.add(chunk({"role": "assistant", "tool_calls": [head]}))
    assembler.add(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"q": "연'}}]}))
    assembler.add(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '차"}'}}]}))
    assembler.add(chunk({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "b", "arguments": "{}"}}]}))
    assembler.add(chunk({}, "tool_calls"))
    calls = assembler.answer().choices[0]["message"]["tool_calls"]
    assert [c["function"]["arguments"] for c in calls] == ['{"q": "연차"}', "{}"]
    assert calls[0] == {
        "id": "call_1",
        "type": "function",
        "function": {"name": "look_up", "arguments": '{"q": "연차"}'},
    }


def test_choices_are_kept_apart_and_all_must_end() -> None:
    assembler = Assembler()
    assembler.add(chunk({"content": "a"}, index=0))
    assembler.add(chunk({"content": "b"}, index=1))
    assembler.add(chunk({}, "stop", index=1))
    assert not assembler.closed
    assembler.add(chunk({}, "stop", index=0))
    assert [c["message"]["content"] for c in assembler.answer().choices] == ["a", "b"]


def test_logprobs_reasoning_and_unknown_fields_survive() -> None:
    assembler = Assembler()
    part = chunk({"content": "a", "reasoning_content": "hm"})
    part["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.1}]}
    part["choices"][0]["content_filter_results"] = {"hate": {"filtered": False}}
    assembler.add(part)
    second = chunk({"content": "b", "reasoning_content": "m"}, "stop")
    second["choices"][0]["logprobs"] = {"content": [{"token": "b", "logprob": -0.2}]}
    assembler.add(second)
    choice = assembler.answer().choices[0]
    assert choice["message"]["reasoning_content"] == "hmm"
    assert [t["token"] for t in choice["logprobs"]["content"]] == ["a", "b"]
    assert choice["content_filter_results"] == {"hate": {"filtered": False}}


def test_a_whole_completion_is_an_answer_too() -> None:
    answer = answer_of(
        {"id": "x", "model": "m", "choices": [{"index": 0, "message": {"content": "네"}, "finish_reason": "stop"}]}
    )
    assert (answer.text, answer.finish_reason, answer.usage) == ("네", "stop", None)


def test_role_and_filter_chunks_prove_nothing() -> None:
    assert not has_content(chunk({"role": "assistant"}))
    assert not has_content(chunk({"role": "assistant", "content": ""}))
    assert not has_content({"choices": [], "prompt_filter_results": [{}]})
    assert has_content(chunk({"content": "아"}))
    assert has_content(chunk({"reasoning_content": "hm"}))
    assert has_content(chunk({}, "stop"))
