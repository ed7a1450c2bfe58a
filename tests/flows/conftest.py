"""What most flows begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.provider import Provider, ProviderConfig, running_provider


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
