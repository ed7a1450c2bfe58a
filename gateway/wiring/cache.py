"""Where answers are kept."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.cache.breaker import Breaker
from gateway.cache.calibrated import AdaptiveRule, BadCalibration, Standing, rule_for
from gateway.cache.decision import Rule, StrictRule
from gateway.cache.disk import Disk
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
from gateway.cache.remembering import FileShelf, RedisShelf, Remembering
from gateway.clock import WallClock
from gateway.metrics import Metrics
from gateway.ports import Embedder
from gateway.settings import Settings

log = structlog.get_logger()
SECRET_BYTES = 32
MB = 1024 * 1024


def secret_of(settings: Settings) -> bytes:
    """Keys the cache. Without a configured one: made once and kept beside the data, readable by its owner alone."""
    if configured := settings.cache.secret.get_secret_value():
        return configured.encode()
    path = Path(settings.data_dir) / "cache-secret"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size < SECRET_BYTES:  # a disk that was full left the beginning of one
            _make_secret(path)
        return path.read_bytes()
    except OSError as error:
        log.warning(
            "cache secret not kept: entries in Redis are lost with this process", path=str(path), error=str(error)
        )
        return secrets.token_bytes(32)


def _make_secret(path: Path) -> None:
    """Whole or not at all: another worker may read it in the same moment. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        if path.exists():
            os.replace(draft, path)
            return
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Stores:
    answers: MemoryStore | RedisStore
    questions: MemoryIndex | RedisIndex
    learned: FileShelf | RedisShelf  # what scopes learned about their questions


def chosen_stores(
    settings: Settings, secret: bytes, metrics: Metrics, stack: AsyncExitStack, wall_clock: WallClock = time.time
) -> Stores:
    disk = opened_disk(settings, secret, stack, wall_clock)
    if not uses_redis(settings):
        cache = settings.cache
        answers = MemoryStore(
            int(cache.max_mb * MB), wall_clock, tenant_bytes=int(cache.tenant_mb * MB), on_evict=metrics.cache_evicted,
            disk=disk,
        )  # fmt: skip
        learned = FileShelf(Path(settings.data_dir) / "learned")
        return Stores(answers, MemoryIndex(wall_clock=wall_clock), learned)
    link = redis_link(settings)
    metrics.watch_redis(lambda: link.up)
    stack.push_async_callback(link.client.aclose)
    return Stores(
        RedisStore(link, secret, wall_clock=wall_clock, disk=disk),
        RedisIndex(link, secret, max_ttl_s=settings.cache.ttl_s, wall_clock=wall_clock),
        RedisShelf(link),
    )


def opened_disk(
    settings: Settings, secret: bytes, stack: AsyncExitStack, wall_clock: WallClock = time.time
) -> Disk | None:
    """Where answers are remembered beyond the cache. Never raises."""
    if not settings.cache.disk_mb:
        return None
    path = Path(settings.data_dir) / "remembered.db"
    try:
        disk = Disk(path, secret, int(settings.cache.disk_mb * MB), wall_clock)
    except (OSError, sqlite3.Error) as error:
        log.warning("answers are not remembered on disk", path=str(path), error=str(error))
        return None
    stack.push_async_callback(disk.close)
    return disk


def chosen_rule(settings: Settings, embedder: Embedder | None, metrics: Metrics) -> Rule:
    """How a semantic hit is decided. Raises BadCalibration."""
    semantic = settings.cache.semantic
    if embedder is None:
        return StrictRule()
    try:
        data = Path(semantic.calibration).read_bytes() if semantic.calibration else None
    except OSError as error:
        raise BadCalibration(f"cache.semantic.calibration: {semantic.calibration} cannot be read: {error}") from error

    def tell(now: Standing) -> None:
        scopes = {"learning": now.learning, "serving": now.serving, "off": now.off}
        metrics.cache_standing(scopes, now.audited, now.audited_wrong, now.upper95)

    return rule_for(embedder.model, semantic.max_wrong, answer_noise=semantic.answer_noise, data=data, on_change=tell)


async def remembered(rule: Rule, stores: Stores, secret: bytes, stack: AsyncExitStack) -> Remembering | None:
    """What scopes learn, kept while the stack is open; None for a rule that learns nothing."""
    if not isinstance(rule, AdaptiveRule):
        return None
    remembering = Remembering(rule, stores.learned, secret)
    await stack.enter_async_context(remembering.running())
    return remembering


def uses_redis(settings: Settings) -> bool:
    cache = settings.cache
    return cache.store == "redis" or (cache.store == "auto" and bool(cache.redis.url.get_secret_value()))


def redis_link(settings: Settings, breaker: Breaker | None = None) -> RedisLink:
    redis = settings.cache.redis
    client = redis_client(redis.url.get_secret_value(), cluster=redis.cluster, timeout_s=redis.timeout_s)
    return RedisLink(client, timeout_s=redis.timeout_s, breaker=breaker)
