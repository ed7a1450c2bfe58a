"""What becomes of reviewed answers when documents change, gateways restart and stores fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.provider import Provider
from tests.flows.house import House, fill, house, model
from tests.flows.reviewed.desk import (
    ADMIN,
    LEAVE,
    PINNED,
    ask,
    how,
    opened,
    pin,
    until,
)


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
