"""Answer events → an object or a stream of OpenAI's Responses API (pure)."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.chat import Answer, ChatRequest, Delta, Json, Opened, Passage, Usage
from gateway.errors import GatewayError
from gateway.ingress.responses_request import OUR_ID
from gateway.ingress.sse import timing_comment
from gateway.retrieval.uploads.holdings import file_of

PASSAGES = "file_search_call.results"  # in ``include``: the passages themselves are wanted
_CITED = re.compile(r"\[doc(\d+)\]", re.IGNORECASE)
_CUT_SHORT = {"length": "max_output_tokens", "content_filter": "content_filter"}  # finish_reason → why incomplete
_ECHOED = {"instructions": None, "max_output_tokens": None, "temperature": None, "top_p": None, "user": None,
           "text": {"format": {"type": "text"}}, "reasoning": {"effort": None, "summary": None}}  # fmt: skip


class ResponseWriter:
    """Writes one answer as a response. ``asked``: the body of its request, of which a response repeats parts."""

    def __init__(self, asked: Json, request: ChatRequest, *, timing: bool) -> None:
        self._asked = asked
        self._question = request.question
        self._timing = timing
        self._id = f"{OUR_ID}{random.getrandbits(128):032x}"
        self._item = f"msg_{random.getrandbits(128):032x}"
        self._created_at = int(time.time())
        self._events = 0
        self._speaking = False  # the item and its first part were announced
        self._model = ""
        self._citations: Sequence[Passage] = ()
        self._marked: Json = {}
        self._searches: list[dict[str, Any]] = []  # shown before the message, to those who asked for the passages

    def whole(self, answer: Answer, opened: Opened, answer_id: str) -> Json:
        self._open(opened)
        return self._final(answer)

    def opened(self, event: Opened) -> bytes:
        self._open(event)
        begun = self._response("in_progress")
        frames = [self._event("response.created", response=begun), self._event("response.in_progress", response=begun)]
        for index, search in enumerate(self._searches):
            for kind in ("response.output_item.added", "response.output_item.done"):
                frames.append(self._event(kind, output_index=index, item=search))
        return b"".join(frames)

    def delta(self, event: Delta) -> bytes:
        if not event.text:
            return b""
        began = b"" if self._speaking else self._item_added() + self._part_added(0, _text_part("", ()))
        self._speaking = True
        return began + self._of_part("response.output_text.delta", 0, delta=event.text, logprobs=[])

    def closed(self, answer: Answer, stages: Mapping[str, tuple[float, str]], total_s: float) -> bytes:
        response = self._final(answer)
        item = response["output"][-1]
        frames = [] if self._speaking else [self._item_added()]
        for index, part in enumerate(item["content"]):
            frames += self._refusal(index, part) if part["type"] == "refusal" else self._text_done(index, part)
            frames.append(self._of_part("response.content_part.done", index, part=part))
        frames.append(self._event("response.output_item.done", output_index=len(self._searches), item=item))
        if self._timing:
            frames.append(timing_comment(stages, total_s))
        frames.append(self._event(f"response.{response['status']}", response=response))
        return b"".join(frames)

    def failed(self, error: GatewayError) -> bytes:
        """``response.failed`` for clients that look at types, and an ``error`` at which the others raise."""
        said = {"code": error.code, "message": str(error), "param": error.param}
        frames = b""
        if self._events:
            code = "rate_limit_exceeded" if error.status == 429 else "server_error"
            response = self._response("failed") | {"error": {"code": code, "message": str(error)}}
            frames = self._event("response.failed", response=response)
        return frames + self._event("error", **said, error=error.body()["error"])

    def _open(self, event: Opened) -> None:
        self._model, self._citations = event.model, event.citations
        if event.labelled:  # the headers of a stream may have left before that was known
            self._marked = {"ocho": {"served_by": str(event.served_by), "labelled": True}}
        if event.citations and PASSAGES in (self._asked.get("include") or ()):
            self._searches = [_search(self._question, event.citations)]

    def _text_done(self, index: int, part: Json) -> list[bytes]:
        frames = [] if self._speaking else [self._part_added(index, _text_part("", ()))]
        for number, annotation in enumerate(part["annotations"]):
            frames.append(
                self._of_part(
                    "response.output_text.annotation.added", index, annotation_index=number, annotation=annotation
                )
            )
        frames.append(self._of_part("response.output_text.done", index, text=part["text"], logprobs=[]))
        return frames

    def _refusal(self, index: int, part: Json) -> list[bytes]:
        return [
            self._part_added(index, {"type": "refusal", "refusal": ""}),
            self._of_part("response.refusal.delta", index, delta=part["refusal"]),
            self._of_part("response.refusal.done", index, refusal=part["refusal"]),
        ]

    def _item_added(self) -> bytes:
        item = {"id": self._item, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        return self._event("response.output_item.added", output_index=len(self._searches), item=item)

    def _part_added(self, index: int, part: Json) -> bytes:
        return self._of_part("response.content_part.added", index, part=part)

    def _of_part(self, kind: str, index: int, **fields: Any) -> bytes:
        where = {"item_id": self._item, "output_index": len(self._searches), "content_index": index}
        return self._event(kind, **where, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        payload = orjson.dumps({"type": kind, "sequence_number": self._events, **fields})
        self._events += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), payload)

    def _final(self, answer: Answer) -> dict[str, Any]:
        self._model = answer.model
        cut = _CUT_SHORT.get(answer.finish_reason or "")
        status = "incomplete" if cut else "completed"
        content = _parts(answer, self._citations)
        item = {"id": self._item, "type": "message", "status": status, "role": "assistant", "content": content}
        return self._response(status) | {
            **self._marked,
            "completed_at": None if cut else int(time.time()),
            "incomplete_details": {"reason": cut} if cut else None,
            "output": [*self._searches, item],
            "service_tier": answer.extras.get("service_tier"),
            "usage": _usage(answer.usage) if answer.usage is not None else None,
        }

    def _response(self, status: str) -> dict[str, Any]:
        given = {name: value for name in _ECHOED if (value := self._asked.get(name)) is not None}
        return {
            **_ECHOED,
            **given,
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "metadata": self._asked.get("metadata") or {},
            "model": self._model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,  # whatever was wished for: nothing is kept to be gone on from
            "tool_choice": "auto",
            "tools": self._asked.get("tools") or [],
            "truncation": "disabled",
            "usage": None,
        }


def _parts(answer: Answer, citations: Sequence[Passage]) -> list[dict[str, Any]]:
    """Content of the message: its text, its refusal, or both."""
    message = answer.choices[0].get("message") or {} if answer.choices else {}
    refusal = message.get("refusal")
    refused = [{"type": "refusal", "refusal": refusal}] if isinstance(refusal, str) and refusal else []
    return [_text_part(answer.text, citations), *refused] if answer.text or not refused else refused


def _text_part(text: str, citations: Sequence[Passage]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": _annotations(text, citations), "logprobs": []}


def _search(question: str, found: Sequence[Passage]) -> dict[str, Any]:
    """The passages, as the results of a search for the question; the first is [doc1]."""
    results = []
    for passage in found:
        file_id, filename = file_of(passage)
        score = round(min(1.0, max(0.0, passage.score)), 6)
        result = {"file_id": file_id, "filename": filename, "score": score, "text": passage.text, "attributes": {}}
        results.append(result)
    id = f"fs_{random.getrandbits(128):032x}"
    return {"id": id, "type": "file_search_call", "status": "completed", "queries": [question], "results": results}


def _annotations(text: str, citations: Sequence[Passage]) -> list[dict[str, Any]]:
    """One for each [docN] in the text; ``index`` is where it stands, in characters."""
    made = []
    for mark in _CITED.finditer(text) if citations else ():
        if 1 <= (number := int(mark[1])) <= len(citations):
            file_id, filename = file_of(citations[number - 1])
            made.append({"type": "file_citation", "index": mark.start(), "file_id": file_id, "filename": filename})
    return made


def _usage(usage: Usage) -> dict[str, Any]:
    def detail(side: str, name: str) -> int:
        details = usage.raw.get(f"{side}_tokens_details")
        return (details.get(name) or 0) if isinstance(details, Mapping) else 0

    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": detail("prompt", "cached_tokens"),
            "cache_write_tokens": detail("prompt", "cache_write_tokens"),
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": detail("completion", "reasoning_tokens")},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
