"""Path → handler, OpenAI and Azure next to each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from gateway.chat import ChatRequest, Json, NamedDocuments, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.errors import InvalidRequest, NotFound, UnknownModel
from gateway.ingress import openai
from gateway.ingress.answering import Answering, Showing
from gateway.ingress.auth import KeyHolder, KeyRing, presented
from gateway.ingress.caller import MODEL, OPERATION, Caller, Reply, WebCaller
from gateway.ingress.data_sources import named_documents, searched_stores
from gateway.ingress.head import HARMLESS, Head
from gateway.ingress.relay import Relay
from gateway.ingress.repeats import Repeats
from gateway.ingress.responses_reply import ResponseWriter
from gateway.ingress.responses_request import chat_body, previous_is_ours
from gateway.ingress.sse import ChatWriter
from gateway.ingress.wishes import NONE, Wishes, wishes_of
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.ports import Outgoing

OPERATIONS = ("chat/completions", "completions", "embeddings")
POST_ONLY = ("completions", "embeddings")
RELAYED_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")  # HEAD comes with GET; OPTIONS and TRACE stop here


@dataclass(frozen=True, slots=True)
class Surface:
    """What the endpoints need to know of the configuration."""

    models: tuple[str, ...]  # names to list; a wildcard is not one of them
    any_model: bool  # requests for other names are passed on
    relay_to: str  # model whose first deployment takes requests that name no model
    total_s: float  # longest a request may take when it sets no deadline
    body_s: float
    showing: Showing


class Endpoints:
    """Handlers of the public API."""

    def __init__(self, surface: Surface, keys: KeyRing, pipeline: Pipeline, relay: Relay, metrics: Metrics) -> None:
        self.repeats = Repeats(keys, pipeline, metrics, surface.showing)
        self._surface = surface
        self._keys = keys
        self._pipeline = pipeline
        self._relay = relay
        self._metrics = metrics
        self._created = int(time.time())

    def routes(self) -> list[web.RouteDef]:
        table = [
            web.post("/v1/chat/completions", self.web_chat),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{model:.+}", self.model),
            web.post("/openai/v1/chat/completions", self.web_chat),
            web.get("/openai/v1/models", self.models),
            web.get("/openai/v1/models/{model:.+}", self.model),
            web.post("/openai/deployments/{deployment}/chat/completions", self.web_chat),
            web.post("/openai/deployments/{deployment}/responses", self.responses),
            web.post("/openai/deployments/{deployment}/{operation:.+}", self.deployment_relay),
            web.get("/openai/models", self.models),
            web.get("/openai/models/{model:.+}", self.model),
        ]
        for prefix in ("/v1/", "/openai/v1/", "/openai/"):
            table.append(web.post(prefix + "responses", self.responses))
            table += [web.route(method, prefix + "{path:.+}", self.other) for method in RELAYED_METHODS]
        return table

    async def web_chat(self, http_request: web.Request) -> web.StreamResponse:
        caller = WebCaller(http_request, self._surface.body_s)
        return caller.response(await self.chat(caller, http_request.match_info.get("deployment")))

    async def chat(self, caller: Caller, path_model: str | None) -> Reply | None:
        """One chat completion: through the pipeline if anything there can better it, else as bytes.

        ``path_model``: the model that an Azure path names. None: the answer went out in pieces.
        """
        began = time.monotonic()
        caller.operation = "chat"
        head = caller.head
        holder = self._keys.holder(head.key)
        told = self._pipeline.accounts.enter(holder.key_id)
        raw = caller.received if caller.received is not None else await caller.body()
        body = openai.parse_object(raw)
        had_wishes = "ocho" in body
        wishes = wishes_of(head.wishes, body) if had_wishes or head.wishes else NONE
        documents = named_documents(body) if self._pipeline.shelves is not None else None
        model = openai.model_of(body, path_model)
        openai.check_chat(body)
        caller.model = model
        promise_s = self._pipeline.promise_s(model)
        ctx = self._context(caller.id, head, holder, told, wishes, promise_s, documents)
        if not self._pipeline.improves(ctx, model):
            if had_wishes or path_model is not None:
                body["model"] = model
                raw = orjson.dumps(body)
            sent = Outgoing(
                "POST", "chat/completions", "", model, raw, body, "application/json", bool(body.get("stream"))
            )
            return await self._relay.pass_on(caller, sent, ctx, began)
        request = openai.chat_request(body, model)
        showing = self._surface.showing
        writer = ChatWriter(request, timing=showing.timing)
        answering = Answering(showing, self._metrics, caller, request, ctx, began, writer)
        async with self._pipeline.answer(ctx, request) as joined:
            plain = wishes is NONE and documents is None and self._pipeline.accounts.of(holder.key_id) is None
            if joined.found is not None and plain:
                later = asyncio.get_running_loop().call_soon  # once the reply is on its way
                later(self.repeats.remember, joined.found, request, holder, path_model, raw)
            return await answering.answer(joined)

    async def responses(self, http_request: web.Request) -> web.StreamResponse:
        """OpenAI's Responses API: through the pipeline if anything there can better it, else as bytes."""
        began = time.monotonic()
        caller = WebCaller(http_request, self._surface.body_s)
        holder = self._enter(http_request, "responses")
        raw = await caller.body()
        body = openai.parse_object(raw)
        path_model = http_request.match_info.get("deployment")
        if not (path_model or body.get("model")):  # a prompt kept at the provider may name one
            return await self._forward(http_request, holder, "responses", "", raw, body)
        caller.model = model = openai.model_of(body, path_model)
        had_wishes = "ocho" in body
        head = caller.head
        wishes = wishes_of(head.wishes, body)
        if had_wishes or path_model is not None:
            body["model"] = model
            raw = orjson.dumps(body)
        asked = {**body}
        documents = self._own_documents(body, model, holder.tenant)
        promise_s = self._pipeline.promise_s(model)
        ctx = self._context(caller.id, head, holder, {}, wishes, promise_s, documents)
        request = self._as_chat(body, model, ctx)
        if request is None:
            return await self._forward(http_request, holder, "responses", model, raw, body)
        ctx = replace(ctx, told=self._pipeline.accounts.enter(holder.key_id))
        writer = ResponseWriter(asked, request, timing=self._surface.showing.timing)
        answering = Answering(self._surface.showing, self._metrics, caller, request, ctx, began, writer)
        async with self._pipeline.answer(ctx, request) as joined:
            return caller.response(await answering.answer(joined))

    def _own_documents(self, body: dict[str, Any], model: str, tenant: Tenant) -> NamedDocuments | None:
        """Taken out of the body of a response; those that only the provider has stay there. Raises InvalidRequest."""
        shelves = self._pipeline.shelves
        if shelves is None:
            return None
        ours = any(shelves.knows(name, tenant) for name in searched_stores(body))
        return named_documents(body) if ours or self._pipeline.grounds(model) else None

    def _as_chat(self, body: Json, model: str, ctx: RequestContext) -> ChatRequest | None:
        """A response's request as the pipeline answers it. None where the provider is to be asked: where nothing here
        betters it, or nothing but the cache and it wants what only the provider has. Raises InvalidRequest."""
        needed = ctx.documents is not None or ctx.promise is not None or self._pipeline.grounds(model)
        if not needed and (body.get("store") is True or not self._pipeline.improves(ctx, model)):
            return None
        try:
            return openai.chat_request(chat_body(body), model)
        except InvalidRequest:
            if needed or previous_is_ours(body):
                raise
            return None

    async def deployment_relay(self, http_request: web.Request) -> web.StreamResponse:
        """Azure's ``/openai/deployments/{deployment}/{operation}``: the path names the model."""
        path = _raw_path(http_request).split("/", 4)[4]
        return await self._pass_on(http_request, path, http_request.match_info["deployment"])

    async def other(self, http_request: web.Request) -> web.StreamResponse:
        """Every other path below /v1 goes to the provider untouched."""
        path = _raw_path(http_request)
        prefix = next(p for p in ("/v1/", "/openai/v1/", "/openai/") if path.startswith(p))
        if path.endswith(("/chat/completions/", "/responses/")):  # else it would go past documents and cache unnoticed
            raise NotFound(f"leave out the slash at the end: {path[:-1]}")
        return await self._pass_on(http_request, path.removeprefix(prefix), None)

    async def models(self, http_request: web.Request) -> web.StreamResponse:
        holder = self._enter(http_request, "models")
        if self._surface.any_model and not self._surface.models:
            return await self._forward(http_request, holder, "models", "", None, None)
        return web.Response(
            body=orjson.dumps(openai.models(self._surface.models, self._created)), content_type="application/json"
        )

    async def model(self, http_request: web.Request) -> web.StreamResponse:
        holder = self._enter(http_request, "models")
        name = http_request.match_info["model"]
        if name in self._surface.models:
            return web.Response(body=orjson.dumps(openai.model(name, self._created)), content_type="application/json")
        if self._surface.any_model:
            path = f"models/{_raw_path(http_request).split('/models/', 1)[1]}"
            return await self._forward(http_request, holder, path, "", None, None)
        raise UnknownModel(f"no model named {name!r} is configured; see GET /v1/models", param="model")

    async def _pass_on(self, http_request: web.Request, path: str, path_model: str | None) -> web.StreamResponse:
        holder = self._enter(http_request, path if path in OPERATIONS else "other")
        if path in POST_ONLY and http_request.method != "POST":
            raise web.HTTPMethodNotAllowed(http_request.method, ["POST"])
        if path_model is not None:
            http_request[MODEL] = openai.model_of({}, path_model)
        if not http_request.can_read_body and path not in POST_ONLY:
            return await self._forward(http_request, holder, path, path_model or "", None, None)
        raw = await WebCaller(http_request, self._surface.body_s).body()
        body: dict[str, Any] | None = None
        if path in POST_ONLY or _content_type(http_request).lower().startswith("application/json"):
            body = openai.parse_object(raw)
            if path in POST_ONLY or path_model is not None:
                http_request[MODEL] = body["model"] = openai.model_of(body, path_model)
                if path_model is not None:
                    raw = orjson.dumps(body)
        return await self._forward(http_request, holder, path, http_request.get(MODEL, ""), raw, body)

    async def _forward(
        self, http_request: web.Request, holder: KeyHolder, path: str, model: str, raw: bytes | None, body: Json | None
    ) -> web.StreamResponse:
        named = model or (body or {}).get("model")
        known = isinstance(named, str) and (named in self._surface.models or self._surface.any_model)
        if isinstance(named, str) and named and not known:
            raise UnknownModel(f"no model named {named!r} is configured; see GET /v1/models", param="model")
        sent = Outgoing(
            method=http_request.method,
            path=path,
            query=_query(http_request),
            model=str(named) if known and named else self._surface.relay_to,
            body=raw,
            json=body if known and named else None,
            content_type="application/json" if path in POST_ONLY else _content_type(http_request),
            streamed=bool((body or {}).get("stream")),
        )
        told = self._pipeline.accounts.enter(holder.key_id) if http_request.method == "POST" else {}
        caller = WebCaller(http_request, self._surface.body_s)
        head = caller.head
        ctx = self._context(caller.id, head, holder, told, wishes_of(head.wishes, {}))
        return caller.response(await self._relay.pass_on(caller, sent, ctx, time.monotonic()))

    def _enter(self, http_request: web.Request, operation: str) -> KeyHolder:
        http_request[OPERATION] = operation
        return self._keys.holder(presented(http_request.headers))

    def _context(
        self,
        id: str,
        head: Head,
        holder: KeyHolder,
        told: Mapping[str, str],
        wishes: Wishes,
        promise_s: float | None = None,
        documents: NamedDocuments | None = None,
    ) -> RequestContext:
        """``promise_s``: what the model promises. A caller's deadline then moves the promise, not the end of all work:
        an answer that is not ready by then is replaced, not cut off."""
        total_s = self._surface.total_s
        if promise_s is None and wishes.deadline_s is not None:
            total_s = min(wishes.deadline_s, total_s)
        return RequestContext(
            id=id,
            tenant=holder.tenant,
            key_id=holder.key_id,
            told=told,
            deadline=Deadline.after(total_s),
            promise=Deadline.after(wishes.deadline_s or promise_s) if promise_s is not None else None,
            draft=wishes.draft,
            documents=documents,
            wishes=wishes.cache,
            timings=Timings(),
            trace_headers={"x-request-id": id, **head.handed_on},
        )


def _raw_path(http_request: web.Request) -> str:
    """The path still percent-encoded. Raises NotFound where it would lead out of the provider's own prefix."""
    path = http_request.rel_url.raw_path
    plain = unquote(path, errors="replace")
    if not plain.isprintable() or "\\" in plain or not {".", ".."}.isdisjoint(plain.split("/")):
        raise NotFound("there is nothing at this path")
    return path


def _query(http_request: web.Request) -> str:
    """The query still percent-encoded, without Azure's version: each deployment has its own."""
    parts = http_request.rel_url.raw_query_string.split("&")
    return "&".join(part for part in parts if part.partition("=")[0] != "api-version")


def _content_type(http_request: web.Request) -> str:
    given = http_request.headers.get("content-type", "application/json")
    return given if HARMLESS.fullmatch(given) else "application/octet-stream"
