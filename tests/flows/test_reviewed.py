"""Reviewed answers as callers get them: over HTTP, with real documents, in both stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.provider import Faults, Provider, ProviderConfig, running_provider
from bench.provider.truths import Truths, squeezed
from tests.flows.house import DONE, ROLE, House, Reply, chunk, fill, house, model, scripted, settings, streams

ADMIN = {"authorization": "Bearer admin-key-1", "x-ocho-reviewer": "%EA%B9%80%EB%AF%BC%EC%A7%80"}  # 김민지
QUESTION = "정규직의 연차휴가는 며칠인가요?"
PINNED = "정규직의 연차휴가는 1년에 15일입니다. 자세한 것은 인사팀에 문의하세요."
LEAVE = "# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 {days}일이다.\n"
KEYS: list[dict[str, Any]] = [
    {"key": "key-of-acme", "tenant": "acme", "groups": ["hr"]},
    {"key": "key-of-acme-guest", "tenant": "acme"},
    {"key": "key-of-globex", "tenant": "globex", "groups": ["hr"]},
]
ACME, GUEST, GLOBEX = ({"authorization": f"Bearer {k['key']}"} for k in KEYS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    (made / "c#.md").write_text("# C#\n\nC# 코드는 4칸을 들여 쓴다.\n", encoding="utf-8")
    (made / "leave.md").write_text(LEAVE.format(days=15), encoding="utf-8")
    (made / "expenses.md").write_text("# Expenses\n\nTaxi receipts are refunded within 30 days.\n", encoding="utf-8")
    return made


@asynccontextmanager
async def opened(tmp_path: Path, base_url: str, **more: Any) -> AsyncIterator[House]:
    handbook = {
        "name": "handbook", "answers_with": "gpt-4", "documents": {"collections": ["hr"], "hard_s": 5},
        "settle": {"mode": more.pop("settle", "on")},
    }  # fmt: skip
    named = (model("gpt-4", base_url), handbook)
    auth = {"admin_key": "admin-key-1", "keys": KEYS}
    given = {"documents": [{"name": "hr"}], "auth": auth, "server": {"host": "127.0.0.1", "port": 0}, **more}
    async with house(tmp_path, *named, **given) as running:
        yield running


@pytest.fixture
async def it(provider: Provider, tmp_path: Path, folder: Path, kept_in: dict[str, Any]) -> AsyncIterator[House]:
    async with opened(tmp_path, provider.base_url, cache=kept_in) as running:
        await fill(running.gateway.settings, "hr", folder)
        yield running


async def pin(it: House, **more: Any) -> dict[str, Any]:
    body = {"model": "handbook", "question": QUESTION, "answer": PINNED, "tenant": "acme", **more}
    reply = await it.post("/admin/answers", body, **ADMIN)
    assert reply.status == 200, reply.body
    return dict(reply.json)


async def ask(it: House, question: str = QUESTION, body: Any = None, **headers: str) -> Reply:
    return await it.chat(question, "handbook", body=body, **(headers or ACME))


def how(reply: Reply) -> tuple[str, str]:
    return reply.headers["x-ocho-served-by"], reply.headers["x-ocho-cache"]


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


async def test_a_changed_document_withdraws_it_until_it_is_approved_again(it: House, folder: Path) -> None:
    kept = await pin(it)
    (folder / "leave.md").write_text(LEAVE.format(days=21), encoding="utf-8")
    await fill(it.gateway.settings, "hr", folder)
    changed = await ask(it)
    assert how(changed) == ("model", "miss")
    assert "21일" in changed.text
    flagged = await until(it, kept["id"], "needs_review")
    assert (flagged["author"], flagged["found"], flagged["answers"]) == ("ocho", "document changed", {"ko": PINNED})
    waiting = await it.get("/admin/answers?status=needs_review,awaiting_review", **ADMIN)
    assert [one["id"] for one in waiting.json["data"]] == [kept["id"]]
    await it.kept()
    fixed = PINNED.replace("15", "21")
    edited = await it.post(f"/admin/answers/{kept['id']}", {"answer": fixed}, **ADMIN)
    assert edited.json["status"] == "pinned"
    again = await ask(it)
    assert again.text == fixed
    assert "21일" in again.json["choices"][0]["message"]["context"]["citations"][0]["content"]
    (folder / "expenses.md").write_text("# Expenses\n\nNothing is refunded.\n", encoding="utf-8")
    await fill(it.gateway.settings, "hr", folder)
    assert (await ask(it)).text == fixed  # it does not rest on that one


async def test_or_it_is_given_with_a_note_but_never_after_its_document_is_gone(
    provider: Provider, tmp_path: Path, folder: Path
) -> None:
    async with opened(tmp_path, provider.base_url, answers={"on_change": "note"}) as it:
        await fill(it.gateway.settings, "hr", folder)
        kept = await pin(it)
        (folder / "leave.md").write_text(LEAVE.format(days=21), encoding="utf-8")
        await fill(it.gateway.settings, "hr", folder)
        noted = await ask(it)
        assert how(noted) == ("reviewed", "stale")
        assert noted.headers["x-ocho-labelled"] == "true"
        assert noted.text.startswith("※")
        assert noted.text.endswith(PINNED)
        await until(it, kept["id"], "needs_review")
        assert (await it.post(f"/admin/answers/{kept['id']}/approve", b"", **ADMIN)).json["status"] == "approved"
        assert (await ask(it)).text == PINNED
        (folder / "leave.md").unlink()
        await fill(it.gateway.settings, "hr", folder, prune=True)
        assert how(await ask(it))[0] == "model"


async def until(it: House, id: str, status: str) -> dict[str, Any]:
    """The record, once it has this status."""
    while (found := (await it.get(f"/admin/answers/{id}", **ADMIN)).json)["status"] != status:  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # it is flagged in the background
    return dict(found)


WRONG, RIGHT = "연차휴가는 1년에 20일입니다.", "연차휴가는 1년에 15일입니다."


async def test_a_rejected_answer_is_not_given_again_from_cache_or_model(tmp_path: Path, folder: Path) -> None:
    wrong, other = ((ROLE, chunk(text), chunk(finish="stop"), DONE) for text in (WRONG, RIGHT))
    rewritten = (ROLE, chunk("네, 연차휴가는 한 해 20일입니다."), chunk(finish="stop"), DONE)
    said = (wrong, wrong, rewritten, other, wrong)
    async with (
        scripted(*(streams(*parts) for parts in said)) as upstream,
        opened(tmp_path, upstream.base_url, settle="off") as it,  # what it says is wrong: it would be asked again
    ):
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


async def test_every_gateway_on_the_store_serves_a_pin_once_it_returned(
    provider: Provider, tmp_path: Path, folder: Path, redis_url: str
) -> None:
    cache = {"store": "redis", "redis": {"url": redis_url, "timeout_s": 1}, "secret": "a secret shared by both"}
    async with (
        opened(tmp_path, provider.base_url, cache=cache) as one,
        opened(tmp_path, provider.base_url, cache=cache) as two,
    ):
        await fill(one.gateway.settings, "hr", folder)
        kept = await pin(one)
        assert how(await ask(two)) == ("reviewed", "exact")
        assert (await two.post(f"/admin/answers/{kept['id']}/reject", b"", **ADMIN)).status == 200
        refused = await ask(one)  # the document says the same as the rejected answer
        assert PINNED not in refused.text
        assert how(refused) == ("reviewed", "miss")


async def test_it_survives_a_restart(provider: Provider, tmp_path: Path, folder: Path, kept_in: dict[str, Any]) -> None:
    made = {"cache": kept_in}
    async with opened(tmp_path, provider.base_url, **made) as it:
        await fill(it.gateway.settings, "hr", folder)
        await pin(it)
    async with opened(tmp_path, provider.base_url, **made) as it:
        assert (await ask(it)).text == PINNED
    assert provider.calls == []


async def test_a_dead_redis_keeps_reviewers_out_and_callers_served(provider: Provider, tmp_path: Path) -> None:
    cache = {"store": "redis", "redis": {"url": "redis://127.0.0.1:1/0"}}
    async with opened(tmp_path, provider.base_url, cache=cache) as it:
        refused = await it.post("/admin/answers", {"model": "handbook", "question": "q", "answer": "a",
                                                   "tenant": "acme"}, **ADMIN)  # fmt: skip
        assert (refused.status, refused.error["code"]) == (503, "store_unavailable")
        assert (await ask(it)).status == 200


async def test_a_data_folder_that_cannot_be_written_costs_the_book_and_nothing_else(
    provider: Provider, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    async with house(tmp_path, model("gpt-4", provider.base_url), auth={"admin_key": "admin-key-1"}) as it:
        assert (await it.chat("안녕하세요?")).status == 200
        body = {"model": "gpt-4", "question": "q", "answer": "a"}
        assert (await it.post("/admin/answers", body, **ADMIN)).status == 503


async def test_rephrasings_get_it_through_the_rule_and_its_vetoes(
    provider: Provider, tmp_path: Path, folder: Path, kept_in: dict[str, Any]
) -> None:
    cache = {**kept_in, "semantic": {"embedder": "local"}}
    async with opened(tmp_path, provider.base_url, cache=cache) as it:
        await fill(it.gateway.settings, "hr", folder)
        rephrased = "정규직은 연차휴가가 며칠인가요?"
        assert how(await ask(it, rephrased)) == ("model", "miss")
        await it.kept()
        await pin(it)
        semantic = await ask(it, rephrased)  # although the cache holds another answer to these very words
        assert (semantic.text, how(semantic)) == (PINNED, ("reviewed", "semantic"))
        assert float(semantic.headers["x-ocho-similarity"]) > 0.9
        for trap in (
            "정규직의 연차휴가는 며칠이 아닌가요?",
            "정규직의 병가는 며칠인가요?",
            "택시비는 며칠 안에 환급되나요?",
        ):
            assert how(await ask(it, trap))[0] == "model", trap
        far = "회사에서 한 해에 쉴 수 있는 날이 얼마나 되죠?"
        assert how(await ask(it, far))[0] == "model"
        id = (await pin(it))["id"]
        added = await it.post(f"/admin/answers/{id}", {"add_wordings": [far]}, **ADMIN)
        assert added.json["wordings"] == [far]
        assert (await ask(it, far)).text == PINNED


async def test_a_wording_that_gets_the_same_facts_from_the_model_gets_the_reviewed_answer_from_then_on(
    tmp_path: Path, folder: Path
) -> None:
    said = "정규직 직원의 연차휴가는 한 해에 15일입니다.", "20일입니다.", "인사팀에 문의하세요."
    async with (
        scripted(*(streams(ROLE, chunk(text), chunk(finish="stop"), DONE) for text in said)) as upstream,
        opened(tmp_path, upstream.base_url, cache={"semantic": {"embedder": "local"}}) as it,
    ):
        await fill(it.gateway.settings, "hr", folder)
        await pin(it)
        far, other = "정규직이 쓸 수 있는 연차는 며칠입니까?", "정규직에게 주는 연차는 며칠입니까?"
        assert [how(await ask(it, q)) for q in (far, other)] == [("model", "miss")] * 2
        again = await ask(it, f" {far}")
        assert (again.text, how(again)) == (PINNED, ("reviewed", "semantic"))
        assert how(await ask(it, other))[0] != "reviewed"  # whose answer said something else
        assert it.count("ocho_answers_served_total", how="alias") == 1


def lines(*rows: Any) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows)


async def test_review_goes_out_as_lines_and_comes_back(it: House, tmp_path: Path) -> None:
    kept = await pin(it, wordings=["연차 며칠?"], note="인사팀 확인")
    out = await it.get("/admin/answers/export", **ADMIN)
    [row] = [orjson.loads(line) for line in out.body.splitlines()]
    assert row["documents"] == kept["documents"]
    assert (await it.post(f"/admin/answers/{kept['id']}/reject", {"note": "틀림"}, **ADMIN)).json["answers"] == {}
    odd = [b"{nonsense", {**row, "colour": "red"}, {**row, "status": "splendid"}, {**row, "answers": {}},
           {**row, "tenant": "nobody"}, {**row, "documents": ["hr/none.md"]},
           {**row, "question": "다른 질문", "wordings": [QUESTION]}]  # fmt: skip
    row["answers"]["ko"] += " (수정)"
    report = (await it.post("/admin/answers/import", lines(*odd, b"", row), **ADMIN)).json
    assert report["imported"] == 1
    assert [f["line"] for f in report["failed"]] == [1, 2, 3, 4, 5, 6, 7]
    for told, failure in zip(["JSON", "colour", "status", "answer", "nobody", "hr/none.md", kept["id"]],
                             report["failed"], strict=True):  # fmt: skip
        assert told in failure["error"]
    assert (await ask(it)).text == PINNED + " (수정)"
    assert (await ask(it, "연차 며칠?")).text == PINNED + " (수정)"
    history = (await it.get(f"/admin/answers/history?answer={kept['id']}", **ADMIN)).json["data"]
    assert [line["action"] for line in history] == ["pin", "reject", "pin"]
    assert all(line["who"].startswith("김민지 (key ") for line in history)
    assert "admin-key-1" not in str(history)
    assert history[1]["changed"]["status"] == ["pinned", "rejected"]


async def test_lists_are_filtered_and_paged(it: House) -> None:
    for number in range(5):
        await pin(it, question=f"질문 {number}번?", answer=f"답 {number}", documents=[])
    page = (await it.get("/admin/answers?limit=2", **ADMIN)).json
    assert (len(page["data"]), page["has_more"], page["found"], page["counts"]["pinned"]) == (2, True, 5, 5)
    rest = (await it.get(f"/admin/answers?limit=9&after={page['last_id']}", **ADMIN)).json
    assert (len(rest["data"]), rest["has_more"]) == (3, False)
    assert {a["id"] for a in page["data"]}.isdisjoint(a["id"] for a in rest["data"])
    assert [a["question"] for a in (await it.get("/admin/answers?text=질문 3", **ADMIN)).json["data"]] == ["질문 3번?"]
    for query in ("status=rejected", "tenant=globex", "model=gpt-4", "document=hr/leave.md"):
        assert (await it.get(f"/admin/answers?{query}", **ADMIN)).json["data"] == [], query
    for query, param in (("limit=0", "limit"), ("after=ans_0", "after"), ("status=x", "status"), ("x=1", "x")):
        refused = await it.get(f"/admin/answers?{query}", **ADMIN)
        assert (refused.status, refused.error["param"]) == (400, param)


async def test_what_is_wrong_is_told_and_changes_nothing(it: House) -> None:
    kept = await pin(it)
    good = {"model": "handbook", "question": "질문?", "answer": "답", "tenant": "acme"}
    for wrong, param in (
        ({"question": ""}, "question"), ({"answer": ""}, "answer"), ({"answer": 5}, "answer"),
        ({"model": "x"}, "model"),
        ({"tenant": ""}, "tenant"), ({"answers": {"klingon": "x"}}, "answers"), ({"documents": "hr"}, "documents"),
        ({"wordings": ["How many?"]}, "answers"), ({"status": 1}, "status"), ({"colour": "red"}, "colour"),
        ({"question": "질" * 401}, "question"), ({"entry": "a.b"}, "model"),
    ):  # fmt: skip
        refused = await it.post("/admin/answers", {**good, **wrong}, **ADMIN)
        assert (refused.status, refused.error["param"]) == (400, param), wrong
    taken = await it.post("/admin/answers", {**good, "wordings": [QUESTION]}, **ADMIN)
    assert (taken.status, taken.error["code"]) == (409, "conflict")
    one = f"/admin/answers/{kept['id']}"
    late = await it.post(one, {"answer": "x", "revision": 7}, **ADMIN)
    assert (late.status, late.error["param"]) == (409, "revision")
    assert (await it.post(one, {}, **ADMIN)).status == 400
    assert (await it.post(one + "/approve", {"which": "other"}, **ADMIN)).error["param"] == "which"
    assert (await it.get("/admin/answers/ans_00", **ADMIN)).status == 404
    assert (await it.post("/admin/answers", {"entry": "a.b"}, **ADMIN)).status == 404
    for path in ("/admin/answers", one, "/admin/answers/export", "/admin/answers/history"):
        assert (await it.get(path)).status == 401
        assert (await it.get(path, **ACME)).status == 403
    assert (await it.get(one, **ADMIN)).json == kept
    async with it.http.delete(f"{it.url}{one}", headers={"authorization": "Bearer admin-key-1"}) as gone:
        assert gone.status == 200
    assert how(await ask(it))[0] == "model"


async def test_a_reviewer_is_told_what_no_document_says(it: House) -> None:
    kept = await pin(it, answer="정규직의 연차휴가는 1년에 19일입니다.")
    assert kept["unsupported"] == {"ko": ["19 day"]}
    assert (await ask(it)).text.startswith("정규직의 연차휴가는 1년에 19일")  # the reviewer has the last word


async def test_a_document_may_have_any_name(it: House) -> None:
    kept = await pin(it, question="C# 코드는 몇 칸을 들여 쓰나요?", answer="4칸입니다.", documents=["hr/c#.md"])
    assert (await it.get(f"/admin/answers/{kept['id']}", **ADMIN)).json["status"] == "pinned"
    assert (await ask(it, "C# 코드는 몇 칸을 들여 쓰나요?")).text == "4칸입니다."


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


def test_a_verifier_that_is_no_model_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"answers\.verify refers to 'nobody'"):
        settings(tmp_path, model("m", "http://127.0.0.1:1/v1"), answers={"verify": {"model": "nobody"}})


async def test_a_judge_is_asked_whether_a_wording_asks_the_reviewed_question(
    tmp_path: Path, folder: Path, kept_in: dict[str, Any]
) -> None:
    other, different = "정규직한테 주는 연차휴가 일수 알려줘", "Within how many days are taxi receipts refunded?"
    meanings = {squeezed(QUESTION): "leave", squeezed(other): "leave", squeezed(different): "taxi"}
    judge = {"model": "gpt-4", "patience_s": 15}
    async with (
        running_provider(ProviderConfig(profile="instant", faults=Faults(), truths=Truths(meanings))) as upstream,
        opened(tmp_path, upstream.base_url, cache={**kept_in, "semantic": {"judge": judge}}) as it,
    ):
        await fill(it.gateway.settings, "hr", folder)
        await pin(it)
        reply = await ask(it, other)
        assert (reply.text, *how(reply)) == (PINNED, "reviewed", "semantic")
        asked = len(upstream.calls)
        again = await ask(it, other)
        assert (again.text, *how(again)) == (PINNED, "reviewed", "semantic")
        assert len(upstream.calls) == asked
        assert how(await ask(it, different))[0] == "model"
