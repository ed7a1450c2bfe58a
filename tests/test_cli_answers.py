"""``ocho answers`` as a reviewer types it, each command in its own process, against a running gateway."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from pathlib import Path

from bench.provider import ProviderConfig, running_provider
from tests.flows.house import house, model
from tests.test_cli import ocho

QUESTION = "로비는 몇 시에 여나요?"


async def test_a_reviewer_pins_lists_edits_rejects_and_carries_answers_over(tmp_path: Path) -> None:
    async with (
        running_provider(ProviderConfig(profile="instant")) as provider,
        house(tmp_path, model("m", provider.base_url, cache=True), auth={"admin_key": "admin-key-1"}) as it,
    ):
        reach = {"OCHO_URL": it.url, "OCHO_ADMIN_KEY": "admin-key-1", "OCHO_REVIEWER": "김민지"}

        async def answers(*args: str, expect: int = 0, columns: str = "200") -> str:
            status, out, err = await ocho(tmp_path, "answers", *args, COLUMNS=columns, **reach)
            assert status == expect, (out, err)
            return out + err

        assert "--question and --answer" in await answers("pin", "--model", "m", expect=2)
        assert "no model named 'x'" in await answers("pin", "--model", "x", "-q", QUESTION, "-a", "9시", expect=2)
        card = await answers("pin", "--model", "m", "-q", QUESTION, "-a", "9시입니다. [red]", "-w", "로비 개방 시각은?")
        assert "pinned" in card
        assert "9시입니다. [red]" in card
        id = card.split()[0]
        assert (await it.chat("로비 개방 시각은?", "m")).text == "9시입니다. [red]"
        listed = await answers("list", "--text", "로비")
        assert id in listed
        assert "1 found, 1 shown; 0 wait for review" in listed
        (tmp_path / "new.txt").write_text("평일 8시입니다.\n", encoding="utf-8-sig")  # as Windows does
        await answers("edit", id, "-a", "ko=@new.txt", "-a", "en=At 8.", "-w", "When does the lobby open?",
                      "--note", "바뀜")  # fmt: skip
        assert (await it.chat("When does the lobby open", "m")).text == "At 8."
        await answers("export", "review.jsonl")
        assert json.loads((tmp_path / "review.jsonl").read_text())["answers"] == {
            "ko": "평일 8시입니다.",
            "en": "At 8.",
        }
        assert "rejected" in await answers("reject", id, "--note", "아님")
        assert (await it.chat(QUESTION, "m")).text != "평일 8시입니다."
        (tmp_path / "review.jsonl").write_bytes(BOM_UTF8 + (tmp_path / "review.jsonl").read_bytes())
        assert "1 imported" in await answers("import", "review.jsonl")
        assert (await it.chat(QUESTION, "m")).text == "평일 8시입니다."
        shown = await answers("show", id)
        assert "edit by 김민지 (key " in shown
        assert "바뀜" in shown
        assert json.loads(await answers("delete", id, "--json"))["deleted"] is True
        history = await answers("history", columns="80")
        assert f" delete │ {id} │" in history  # whole: ids are there to be copied
        assert "no reviewed answer" in await answers("approve", id, expect=2)
        assert "no reviewed answer" in await answers("show", "ans_nope", expect=2)

        reply = await it.chat("주차는 어디에 하나요?", "m")
        await it.kept()
        handle = (await it.chat("주차는 어디에 하나요?", "m")).headers["x-ocho-entry"]
        assert "rejected" in await answers("reject", handle)
        assert (await it.chat("주차는 어디에 하나요?", "m")).text != reply.text
        (tmp_path / "bad.jsonl").write_text("nonsense\n", encoding="utf-8")
        assert "bad.jsonl line 1" in await answers("import", "bad.jsonl", expect=1)
