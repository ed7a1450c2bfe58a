"""What the reviewer and callers do in these flows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.flows.house import House, Reply, house, model

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


async def pin(it: House, **more: Any) -> dict[str, Any]:
    body = {"model": "handbook", "question": QUESTION, "answer": PINNED, "tenant": "acme", **more}
    reply = await it.post("/admin/answers", body, **ADMIN)
    assert reply.status == 200, reply.body
    return dict(reply.json)


async def ask(it: House, question: str = QUESTION, body: Any = None, **headers: str) -> Reply:
    return await it.chat(question, "handbook", body=body, **(headers or ACME))


def how(reply: Reply) -> tuple[str, str]:
    return reply.headers["x-ocho-served-by"], reply.headers["x-ocho-cache"]


async def until(it: House, id: str, status: str) -> dict[str, Any]:
    """The record, once it has this status."""
    while (found := (await it.get(f"/admin/answers/{id}", **ADMIN)).json)["status"] != status:  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # it is flagged in the background
    return dict(found)


WRONG, RIGHT = "연차휴가는 1년에 20일입니다.", "연차휴가는 1년에 15일입니다."
