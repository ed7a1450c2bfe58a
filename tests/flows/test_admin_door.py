"""Who may administer, and what the rest is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.flows.house import house, model

ADMIN = "admin-key-1"
AUTH = {"keys": [{"key": "right-key-1", "tenant": "a"}], "admin_key": ADMIN}
NOWHERE = model("m", "http://127.0.0.1:1/v1")


async def test_administration_needs_the_admin_key_and_no_other(tmp_path: Path) -> None:
    async with house(tmp_path, NOWHERE, auth=AUTH, server={"host": "127.0.0.1"}) as it:
        for path in ("/admin", "/admin/nothing", "/admin/../admin/x"):
            missing = await it.get(path)
            assert (missing.status, missing.error["code"]) == (401, "invalid_api_key")
            for wrong in ("Bearer right-key-1", "Bearer admin-key-2", "Bearer admin-key", "Bearer 관리자"):
                refused = await it.get(path, authorization=wrong)
                assert (refused.status, refused.error["type"]) == (403, "permission_error")
                assert ADMIN not in refused.body.decode()
            known = await it.get(path, authorization=f"Bearer {ADMIN}")
            assert (known.status, known.error["code"]) == (404, "not_found")
            assert "{id}/approve" in known.error["message"]
        assert (await it.get("/v1/models", authorization=f"Bearer {ADMIN}")).status == 401  # it opens nothing else


async def test_without_an_admin_key_there_is_no_administration(tmp_path: Path) -> None:
    async with house(tmp_path, NOWHERE) as it:
        for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer anything"}):
            refused = await it.post("/admin/cache/purge", {"all": True}, **headers)
            assert (refused.status, refused.error["code"]) == (403, "admin_key_not_configured")
            assert "auth.admin_key" in refused.error["message"]


@pytest.mark.parametrize(
    ("auth", "problem"),
    [({"admin_key": "short"}, "at least 8"), (AUTH | {"admin_key": "right-key-1"}, "also an API key")],
)
def test_an_admin_key_that_guards_nothing_is_refused(auth: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Settings.model_validate({"models": [NOWHERE], "auth": auth})


def test_an_empty_admin_key_is_none() -> None:
    assert Settings.model_validate({"models": [NOWHERE], "auth": {"admin_key": ""}}).auth.admin_key is None
