"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from hypothesis import settings

from tests.redis_server import running_redis

settings.register_profile("any machine", deadline=None)  # how long an example takes says nothing on a busy one
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture
def redis_url(shared_redis: str) -> str:
    """URL of a private, empty Redis 8."""
    with redis.Redis.from_url(shared_redis) as client:
        client.flushall()
    return shared_redis
