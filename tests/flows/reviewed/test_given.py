"""Reviewed answers as callers get them: over HTTP, with real documents, in both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.provider import Provider
from tests.flows.house import DONE, ROLE, House, chunk, fill, house, model, scripted, streams
from tests.flows.reviewed.desk import (
    ACME,
    ADMIN,
    GLOBEX,
    GUEST,
    LEAVE,
    PINNED,
    QUESTION,
    ask,
    how,
    opened,
    pin,
)

WRONG, RIGHT = "연차휴가는 1년에 20일입니다.", "연차휴가는 1년에 15일입니다."


async def test_a_pinned_answer_wins_whatever_the_cache_holds(it: House, provider: Provider) -> None:
    before = await ask(it)
    await it.kept()
    kept = await pin(it)
    assert kept["status"] == "pinned"
    assert list(kept["documents"]) == ["hr/leave.md"]
    assert kept["unsupported"] == {}
    calls = len(provider.calls)
    replies = [await ask(it), await ask(it, f"  {QUESTION.rstrip('?')} ??"), await ask(it, body={"stream": True})]
    assert (await it.post("/admin/cache/purge", {"all": True}, **ADMIN)).status == 200
    replies.append(await ask(it))
    for reply in replies:
        assert (reply.text, how(reply)) == (PINNED, ("reviewed", "exact"))
        assert reply.headers["x-ocho-entry"] == f"reviewed.{kept['id']}"
    whole = [reply.json for reply in (replies[0], replies[1], replies[3])]
    assert len({one["id"] for one in whole}) == 3
    assert all(one["created"] >= before.json["created"] for one in whole)
    assert whole[0]["choices"][0]["message"]["context"]["citations"][0]["filepath"] == "hr/leave.md"
    assert len(provider.calls) == calls
    assert it.count("ocho_answers_served_total", status="pinned", how="exact") == 4


async def test_the_openai_sdk_takes_a_reviewed_answer_whole_and_streamed(it: House) -> None:
    await pin(it)
    asked: Any = {"model": "handbook", "messages": [{"role": "user", "content": QUESTION}]}
    async with it.openai(api_key="key-of-acme") as client:
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert (whole.choices[0].message.content, text) == (PINNED, PINNED)


async def test_it_is_given_in_each_language_that_the_reviewer_gave(it: House) -> None:
    english = "How many days of annual leave do regular employees have?"
    texts = {"ko": PINNED, "en": "Regular employees have 15 days of annual leave a year."}
    refused = await it.post("/admin/answers", {"model": "handbook", "question": QUESTION, "answers": texts,
                                               "tenant": "acme"}, **ADMIN)  # fmt: skip
    assert (refused.status, refused.error["param"]) == (400, "wordings")
    body = {"model": "handbook", "question": QUESTION, "answers": texts, "wordings": [english], "tenant": "acme"}
    assert (await it.post("/admin/answers", body, **ADMIN)).status == 200
    assert (await ask(it)).text == PINNED
    assert (await ask(it, english.upper())).text == texts["en"]


async def test_it_holds_for_its_own_tenant_model_instructions_and_stand_alone_questions(it: House) -> None:
    await pin(it)

    def says(*messages: tuple[str, str], **fields: Any) -> dict[str, Any]:
        asked = [{"role": role, "content": text} for role, text in messages]
        return {"messages": [*asked, {"role": "user", "content": QUESTION}], **fields}

    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    others = [
        await ask(it, **GLOBEX),
        await it.chat(QUESTION, "gpt-4", authorization=ACME["authorization"]),
        await ask(it, body=says(("system", "Speak like a pirate."))),
        await ask(it, body=says(("user", "인턴은요?"), ("assistant", "10일입니다."))),
        await ask(it, body=says(tools=[tool])),
        await ask(it, body=says(response_format={"type": "json_object"})),
        await ask(it, x_ocho_cache_namespace="beta", **ACME),
        await ask(it, x_ocho_cache="off", **ACME),
    ]
    assert [reply.headers.get("x-ocho-served-by") for reply in others] == ["model"] * 8
    assert all(PINNED not in reply.text for reply in others)
    for same in (says(temperature=0.3), says(max_tokens=900), says(response_format={"type": "text"})):
        assert how(await ask(it, body=same)) == ("reviewed", "exact")
    for header in ({"cache_control": "no-cache"}, {"x_ocho_cache": "write"}, {"cache_control": "max-age=0"}):
        assert how(await ask(it, **header, **ACME)) == ("reviewed", "exact")
    await pin(it, system="Speak like a pirate.", answer="Arr, 15일.")
    assert (await ask(it, body=says(("system", "Speak like a pirate.")))).text == "Arr, 15일."
    assert (await ask(it)).text == PINNED


async def test_only_who_may_read_its_documents_gets_it(provider: Provider, tmp_path: Path, folder: Path) -> None:
    async with opened(tmp_path, provider.base_url) as it:
        await fill(it.gateway.settings, "hr", folder, groups=("hr",))
        await pin(it)
        assert how(await ask(it, **ACME)) == ("reviewed", "exact")
        guest = await ask(it, **GUEST)
        assert how(guest) == ("model", "miss")
        assert "15일" not in guest.text


async def test_a_rejected_answer_is_not_given_again_from_cache_or_model(tmp_path: Path, folder: Path) -> None:
    wrong, other = ((ROLE, chunk(text), chunk(finish="stop"), DONE) for text in (WRONG, RIGHT))
    rewritten = (ROLE, chunk("네, 연차휴가는 한 해 20일입니다."), chunk(finish="stop"), DONE)
    said = (wrong, wrong, rewritten, other, wrong)
    async with (
        scripted(*(streams(*parts) for parts in said)) as upstream,
        opened(tmp_path, upstream.base_url, settle="off") as it,  # what it says is wrong: it would be asked again
    ):
        # A number that stands nowhere would not be kept.
        (folder / "sick.md").write_text("# 병가\n\n정규직의 병가는 1년에 20일이다.\n", encoding="utf-8")
        await fill(it.gateway.settings, "hr", folder)
        assert WRONG in (await ask(it)).text
        await it.kept()
        hit = await ask(it)
        assert how(hit) == ("cache", "exact")
        body = {"entry": hit.headers["x-ocho-entry"], "status": "rejected", "note": "틀림"}
        kept = (await it.post("/admin/answers", body, **ADMIN)).json
        assert (kept["status"], kept["answers"], [r["text"] for r in kept["rejected"]]) == ("rejected", {}, [WRONG])
        for dress in ({}, {"stream": True}):  # the model says it again: word for word, then in other words
            refused = await ask(it, body=dress)
            assert how(refused) == ("reviewed", "miss")
            assert "20일" not in refused.text
            assert "반려" in refused.text
        right = await ask(it)
        assert (right.text, how(right)) == (RIGHT, ("model", "miss"))
        await it.kept(4)
        assert how(await ask(it)) == ("cache", "exact")
        (folder / "leave.md").write_text(LEAVE.format(days=20), encoding="utf-8")
        await fill(it.gateway.settings, "hr", folder)
        assert (await ask(it)).text == WRONG  # which it is not any more
        assert len(upstream.asked) == 5


async def test_models_without_a_cache_or_documents_have_reviewed_answers_too(
    provider: Provider, tmp_path: Path
) -> None:
    named = model("gpt-4", provider.base_url, cache=False)
    async with house(tmp_path, named, auth={"admin_key": "admin-key-1"}) as it:
        assert (await it.chat("로비 개방 시간은?")).headers.get("x-ocho-served-by") != "reviewed"
        await it.post(
            "/admin/answers", {"model": "gpt-4", "question": "로비 개방 시간은?", "answer": "9시입니다."}, **ADMIN
        )
        assert (await it.chat("로비 개방 시간은?")).text == "9시입니다."
        assert (await it.chat("로비 폐쇄 시간은?")).headers.get("x-ocho-served-by") != "reviewed"
