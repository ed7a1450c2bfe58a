"""Answers in the size that fits the promised time, over real HTTP."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from bench.handbook import FOLDER, load
from tests.flows.house import chunk, fill, house, model, scripted, settings, streams

QUESTION = next(q for q in load() if q.id == "leave-annual-1")
LEAD = "정규직 직원의 연차휴가는 1년에 16일입니다."
# Without numbers: one that stands in no document would not be kept.
SENTENCES = [
    f" {name} 항목에는 신청 방법과 기한이 적혀 있습니다." for name in "가나다라마바사아자차카타파하거너더러머버"
]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_is_slower_than_planned_ends_in_time_with_a_sentence(tmp_path: Path, stream: bool) -> None:
    own = {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}, "sized": True}
    own |= {"deadline": {"seconds": 2}, "settle": {"max_extra_spend": 0}}
    documents = [{"name": "handbook"}]
    told = [chunk(piece) for piece in (LEAD, *SENTENCES)]
    async with scripted(streams(*told, chunk(finish="stop"), b"data: [DONE]\n\n", every_s=0.25)) as upstream:
        models = [model("big", upstream.base_url), own]
        await fill(settings(tmp_path, *models, documents=documents), "handbook", FOLDER / "hr")
        async with house(tmp_path, *models, documents=documents) as it, it.openai() as client:
            asked = {"model": "handbook", "messages": [{"role": "user", "content": QUESTION.text}]}
            if stream:
                chunks = [c async for c in await client.chat.completions.create(**asked, stream=True)]  # type: ignore[call-overload]
                text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
                reasons = [c.choices[0].finish_reason for c in chunks if c.choices]
            else:
                whole = await client.chat.completions.create(**asked)  # type: ignore[call-overload]
                text, reasons = whole.choices[0].message.content, [whole.choices[0].finish_reason]
            said = "".join((LEAD, *SENTENCES))
            assert said.startswith(text)
            assert LEAD in text
            assert len(text) < len(said)
            assert text.endswith("습니다.")
            assert reasons[-1] == "stop"
            assert it.count("ocho_curtailed_answers_total") == 1
            await it.kept()
            again = await it.chat(QUESTION.text, "handbook")
            assert (again.headers["x-ocho-cache"], again.text) == ("exact", text)
        body = orjson.loads(upstream.asked[0].body)
        assert "at most" in body["messages"][-2]["content"]
        assert body["messages"][-1]["content"] == QUESTION.text
        assert body["max_tokens"] >= 160
