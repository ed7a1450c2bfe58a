"""What reviewers do over HTTP, and what they are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.flows.house import House, model, settings
from tests.flows.reviewed.desk import (
    ACME,
    ADMIN,
    PINNED,
    QUESTION,
    ask,
    how,
    pin,
)


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


def test_a_verifier_that_is_no_model_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"answers\.verify refers to 'nobody'"):
        settings(tmp_path, model("m", "http://127.0.0.1:1/v1"), answers={"verify": {"model": "nobody"}})
