"""What most flows begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partialmethod
from typing import Any

import pytest

from bench.provider import Provider, ProviderConfig, running_provider
from gateway import consulting
from gateway.cache.calibrated import AdaptiveRule


@pytest.fixture(autouse=True)
def _no_audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 in 100 hits are answered afresh, by chance: not the ones that a test looks at."""
    monkeypatch.setattr(AdaptiveRule, "__init__", partialmethod(AdaptiveRule.__init__, audited=0.0))
    monkeypatch.setattr(consulting, "AUDITED", 0.0)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A stand-in provider without delays."""
    async with running_provider(ProviderConfig(profile="instant")) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def kept_in(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The ``cache`` section, once for each store."""
    if request.param == "memory":
        return {}
    return {"store": "redis", "redis": {"url": request.getfixturevalue("redis_url"), "timeout_s": 1}}
