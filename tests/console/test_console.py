"""The console in a real headless Chromium, against a real gateway."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Page, Request, async_playwright, expect

from tests.flows.house import DONE, ROLE, House, chunk, house, model, scripted, streams

CHROMIUM = shutil.which("chromium") or ""
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="NOT TESTED: the console in a real browser (install the package chromium)"
)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
KEY = "admin-key-1"
ADMIN = {"authorization": f"Bearer {KEY}"}
NASTY = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>{{7*7}} javascript:alert(1)'


@dataclass(slots=True)
class Browsing:
    """A page, and everything it asked for or complained about."""

    page: Page
    it: House
    asked: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def enter(self, view: str = "", name: str = "김민지") -> None:
        await self.page.goto(f"{self.it.url}/console{view}")
        await self.page.get_by_label("관리자 키").fill(KEY)
        await self.page.get_by_label("이름").fill(name)
        await self.page.keyboard.press("Enter")
        await expect(self.page.get_by_role("tab", selected=True)).to_be_visible()

    async def tab(self, name: str) -> None:
        await self.page.get_by_role("tab", name=name).click()


@asynccontextmanager
async def answering(folder: Path, *texts: str) -> AsyncIterator[House]:
    """A gateway whose model says ``texts``, one after the other, and then the last again."""
    said = [streams(ROLE, chunk(text), chunk(finish="stop"), DONE) for text in texts]
    async with (
        scripted(*said) as upstream,
        house(folder, model("gpt-4", upstream.base_url, cache=True), auth={"admin_key": KEY}) as running,
    ):
        yield running


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[House]:
    async with answering(tmp_path, "모릅니다.") as running:
        yield running


@asynccontextmanager
async def browsing(it: House, folder: Path, locale: str = "ko-KR") -> AsyncIterator[Browsing]:
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(folder / "profile"), executable_path=CHROMIUM, args=FLAGS, headless=True, locale=locale,
            viewport={"width": 1280, "height": 900},
        )  # fmt: skip
        page = context.pages[0]
        page.set_default_timeout(10_000)
        seen = Browsing(page, it)

        def heard(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"} and "status of 40" not in message.text:  # a refused key is told so
                seen.complaints.append(message.text)

        page.on("request", lambda request: seen.asked.append(request))
        page.on("console", heard)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        try:
            yield seen
        finally:
            await context.close()


async def pin(it: House, question: str, answer: str, **more: Any) -> dict[str, Any]:
    reply = await it.post("/admin/answers", {"model": "gpt-4", "question": question, "answer": answer, **more}, **ADMIN)
    assert reply.status == 200, reply.body
    return dict(reply.json)


async def flip(it: House, question: str) -> None:
    """Ask twice past the cache; the model's two answers are then up for review."""
    await it.chat(question)
    await it.kept(1)
    await it.chat(question, cache_control="no-cache")
    while not it.count("ocho_answers", status="awaiting_review"):  # noqa: ASYNC110  it is found in the background
        await asyncio.sleep(0.01)


async def test_the_page_has_a_strict_policy_and_is_off_without_an_admin_key(it: House, tmp_path: Path) -> None:
    for path in ("/console", "/console/", "/console/console.js", "/console/words.js", "/console/console.css"):
        page = await it.get(path)
        policy = page.headers["content-security-policy"]
        assert page.status == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert (page.headers["cache-control"], page.headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert b"http://" not in page.body
        assert b"https://" not in page.body
        assert b"innerHTML" not in page.body
    assert (await it.get("/console/../auth.py")).status == 404
    assert (await it.get("/console/__init__.py")).status == 404
    assert (await it.get("/admin/overview")).status == 401
    async with house(tmp_path / "off", model("m", "http://127.0.0.1:1/v1")) as off:
        assert (await off.get("/console")).error["code"] == "admin_key_not_configured"


@needs_chromium
async def test_the_key_opens_it_and_stays_in_the_tab(it: House, tmp_path: Path) -> None:
    async with browsing(it, tmp_path) as b:
        await b.page.goto(f"{it.url}/console")
        await b.page.get_by_label("관리자 키").fill("not-the-key")
        await b.page.get_by_role("button", name="들어가기").click()
        problem = b.page.get_by_role("alert")
        await expect(problem).to_have_text("관리자 키가 맞지 않습니다.")
        bad, soft = await problem.evaluate(
            "e => [getComputedStyle(e).color, getComputedStyle(e.previousSibling).color]"
        )
        assert bad != soft
        await b.enter()
        await expect(b.page.get_by_text("5초 안에 답한 비율")).to_be_visible()
        await expect(b.page.locator("main")).not_to_contain_text("[object")
        await b.page.reload()
        await expect(b.page.get_by_text("5초 안에 답한 비율")).to_be_visible()
        assert all(KEY not in request.url for request in b.asked)
        assert {request.url.split("/console")[0].split("/admin")[0] for request in b.asked} == {it.url}
        assert KEY not in await b.page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
        other = await b.page.context.new_page()
        await other.goto(f"{it.url}/console")
        await expect(other.get_by_label("관리자 키")).to_be_visible()
        await b.page.get_by_role("button", name="나가기").click()
        await expect(b.page.get_by_label("관리자 키")).to_be_visible()
        assert await b.page.evaluate("sessionStorage.getItem('ocho.key')") is None
        assert b.complaints == []


@needs_chromium
async def test_a_finding_is_settled_by_keyboard_alone(tmp_path: Path) -> None:
    question, wrong, right = "경조휴가는 며칠인가요?", "경조휴가는 3일입니다.", "경조휴가는 5일입니다."
    async with answering(tmp_path, wrong, right) as it, browsing(it, tmp_path) as b:
        await flip(it, question)
        await b.enter()
        await expect(b.page.locator("#waiting")).to_have_text("1")
        await b.page.get_by_role("tab", name="개요").focus()
        await b.page.keyboard.press("ArrowRight")
        await expect(b.page.get_by_role("tab", name="검토 대기")).to_be_focused()
        card = b.page.get_by_role("article")
        await expect(card).to_contain_text("같은 질문에 다른 사실")
        await b.page.keyboard.press("Tab")  # into the panel, then to the first of its buttons
        await b.page.get_by_role("button", name="이 답변으로 승인").focus()
        await b.page.keyboard.press("Enter")
        await expect(card.locator(".badge")).to_have_text("승인됨")
        await expect(b.page.locator("#waiting")).to_be_hidden()
        assert b.complaints == []
        reply = await it.chat(question)
        assert (reply.text, reply.headers["x-ocho-served-by"]) == (right, "reviewed")


@needs_chromium
async def test_pin_find_edit_reject_and_read_the_history(it: House, tmp_path: Path) -> None:
    async with browsing(it, tmp_path) as b:
        await b.enter("#answers")
        await b.page.get_by_role("button", name="새 답변 고정").click()
        await b.page.get_by_label("질문", exact=True).fill("로비는 몇 시에 여나요?")
        await b.page.get_by_role("textbox", name="답변", exact=True).fill("9시에 엽니다.")
        await b.page.get_by_label("다른 표현").fill("로비 개방 시각은?\n로비 여는 시간?")
        await b.page.get_by_role("button", name="고정", exact=True).click()
        card = b.page.get_by_role("article")
        await expect(card.locator(".badge")).to_have_text("고정됨")
        assert (await it.chat("로비 여는 시간")).text == "9시에 엽니다."

        await b.page.get_by_label("질문이나 답변에서 찾기").fill("없는 말")
        await b.page.keyboard.press("Enter")
        await expect(b.page.get_by_text("해당하는 답변이 없습니다.")).to_be_visible()
        await b.page.get_by_label("질문이나 답변에서 찾기").fill("로비")
        await b.page.keyboard.press("Enter")
        await card.get_by_role("button", name="고치기").click()
        await b.page.get_by_label("답변 (한국어)").fill("평일 8시에 엽니다.")
        await it.post(f"/admin/answers/{await card.get_attribute('data-id')}", {"note": "그 사이에"}, **ADMIN)
        await b.page.get_by_role("button", name="저장").click()
        await expect(b.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("changed meanwhile")
        await b.page.keyboard.press("Escape")
        await b.tab("답변")
        await card.get_by_role("button", name="고치기").click()
        await b.page.get_by_label("답변 (한국어)").fill("평일 8시에 엽니다.")
        await b.page.get_by_role("button", name="저장").click()
        await expect(card).to_contain_text("평일 8시에 엽니다.")
        assert (await it.chat("로비 개방 시각은?")).text == "평일 8시에 엽니다."

        await card.get_by_role("button", name="반려").click()
        await b.page.get_by_label("메모").fill("공사 중")
        await b.page.get_by_role("dialog").get_by_role("button", name="반려").click()
        await expect(card.locator(".badge")).to_have_text("반려됨")
        await b.tab("이력")
        rows = b.page.locator("tbody tr")
        await expect(rows).to_have_count(4)
        await expect(rows.first).to_contain_text("김민지 (key ")
        await expect(rows.first).to_contain_text("고정됨 → 반려됨")
        await expect(rows.first).to_contain_text("로비는 몇 시에 여나요?")
        assert b.complaints == []
    assert (await it.chat("로비 개방 시각은?")).headers["x-ocho-served-by"] != "reviewed"


@needs_chromium
async def test_what_callers_and_models_wrote_stays_text(tmp_path: Path) -> None:
    said = [f"휴가는 {days}일입니다. {NASTY}" for days in (3, 5)]
    async with answering(tmp_path, *said) as it, browsing(it, tmp_path) as b:
        await flip(it, f"다른 {NASTY}")
        await pin(it, f"질문 {NASTY}", f"답변 {NASTY}", wordings=[f"표현 {NASTY}"], note=NASTY)
        await b.enter(name=NASTY[:60])
        for view in ("검토 대기", "답변", "이력", "개요"):
            await b.tab(view)
            await expect(b.page.get_by_text("불러오는 중")).to_have_count(0)
            if view == "답변":
                await expect(b.page.get_by_role("article")).to_have_count(2)
                await expect(b.page.get_by_role("heading", name="질문")).to_contain_text(NASTY)
                await b.page.get_by_role("button", name="고치기").first.click()
                await b.page.keyboard.press("Escape")
                await b.page.get_by_role("button", name="이력").first.click()
                await expect(b.page.get_by_role("dialog")).to_be_visible()
                await b.page.keyboard.press("Escape")
        assert await b.page.evaluate("window.pwned") is None
        assert await b.page.locator("main img, main script, dialog img").count() == 0
        assert {request.url.split("/console")[0].split("/admin")[0] for request in b.asked} == {it.url}
        assert b.complaints == []


@needs_chromium
async def test_it_speaks_english_too_and_says_what_is_wrong(it: House, tmp_path: Path) -> None:
    await it.chat("What is this?")
    async with browsing(it, tmp_path, "en-GB") as b:
        await b.page.goto(f"{it.url}/console#review")
        await expect(b.page.get_by_role("heading", name="Answer review console")).to_be_visible()
        await b.page.get_by_label("Admin key").fill(KEY)
        await b.page.get_by_role("button", name="Enter").click()
        await expect(b.page.get_by_text("Nothing waits for review.")).to_be_visible()
        await b.page.get_by_role("tab", name="Overview").click()
        await expect(b.page.get_by_text("of 1 since the start")).to_be_visible()
        await b.page.get_by_role("button", name="한국어").click()
        await expect(b.page.get_by_text("시작 이후 1건")).to_be_visible()
        assert await b.page.evaluate("document.documentElement.lang") == "ko"
        await b.page.set_viewport_size({"width": 380, "height": 800})
        assert await b.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert b.complaints == []
