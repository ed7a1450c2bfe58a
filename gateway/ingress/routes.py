"""Path → handler, OpenAI and Azure next to each other."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from gateway.chat import Json, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.errors import InvalidRequest, UnknownModel
from gateway.ingress import openai
from gateway.ingress.answering import Answering, Showing
from gateway.ingress.auth import KeyHolder, KeyRing
from gateway.ingress.middleware import MODEL, OPERATION, REQUEST_ID
from gateway.ingress.relay import Relay
from gateway.ingress.wishes import Wishes, wishes_of
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.ports import Outgoing

OPERATIONS = ("chat/completions", "completions", "embeddings")
TRACE_HEADERS = ("traceparent", "tracestate")


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
        self._surface = surface
        self._keys = keys
        self._pipeline = pipeline
        self._relay = relay
        self._metrics = metrics
        self._created = int(time.time())

    def routes(self) -> list[web.RouteDef]:
        table = [
            web.post("/v1/chat/completions", self.chat),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{model:.+}", self.model),
            web.post("/openai/deployments/{deployment}/chat/completions", self.chat),
            web.post("/openai/deployments/{deployment}/{operation:.+}", self.deployment_relay),
            web.post("/openai/v1/chat/completions", self.chat),
            web.get("/openai/v1/models", self.models),
            web.get("/openai/v1/models/{model:.+}", self.model),
        ]
        table += [web.route("*", f"{prefix}/{{path:.+}}", self.other) for prefix in ("/v1", "/openai/v1")]
        return table

    async def chat(self, http_request: web.Request) -> web.StreamResponse:
        """One chat completion: through the pipeline if anything there can better it, else as bytes."""
        began = time.monotonic()
        holder = self._enter(http_request, "chat")
        raw = await self._body(http_request)
        body = openai.parse_object(raw)
        path_model = http_request.match_info.get("deployment")
        had_wishes = "ocho" in body
        wishes = wishes_of(http_request.headers, body)
        request = openai.parse_chat(body, path_model)
        http_request[MODEL] = request.requested_model
        promise_s = self._pipeline.promise_s(request.requested_model)
        ctx = self._context(http_request, holder.tenant, wishes, promise_s)
        if not self._pipeline.improves(ctx, request.requested_model):
            untouched = raw if not had_wishes and path_model is None else orjson.dumps(request.body)
            sent = Outgoing(
                "POST", "chat/completions", "", request.requested_model, untouched, request.body, "application/json",
                request.stream,
            )  # fmt: skip
            return await self._relay.pass_on(http_request, sent, ctx, began)
        answering = Answering(self._surface.showing, self._metrics, http_request, request, ctx, began)
        async with self._pipeline.answer(ctx, request, holder.key_id) as joined:
            return await (answering.stream(joined) if request.stream else answering.whole(joined))

    async def deployment_relay(self, http_request: web.Request) -> web.StreamResponse:
        """Azure's ``/openai/deployments/{deployment}/{operation}``: the path names the model."""
        return await self._pass_on(
            http_request, http_request.match_info["operation"], "", http_request.match_info["deployment"]
        )

    async def other(self, http_request: web.Request) -> web.StreamResponse:
        """Every other path below /v1 goes to the provider untouched."""
        return await self._pass_on(http_request, http_request.match_info["path"], http_request.query_string, None)

    async def models(self, http_request: web.Request) -> web.StreamResponse:
        holder = self._enter(http_request, "models")
        if self._surface.any_model and not self._surface.models:
            return await self._forward(http_request, holder, "models", http_request.query_string, "", None, None)
        return web.Response(
            body=orjson.dumps(openai.models(self._surface.models, self._created)), content_type="application/json"
        )

    async def model(self, http_request: web.Request) -> web.StreamResponse:
        holder = self._enter(http_request, "models")
        name = http_request.match_info["model"]
        if name in self._surface.models:
            return web.Response(body=orjson.dumps(openai.model(name, self._created)), content_type="application/json")
        if self._surface.any_model:
            return await self._forward(http_request, holder, f"models/{name}", "", "", None, None)
        raise UnknownModel(f"no model named {name!r} is configured; see GET /v1/models", param="model")

    async def _pass_on(
        self, http_request: web.Request, path: str, query: str, path_model: str | None
    ) -> web.StreamResponse:
        operation = path if path in OPERATIONS else "other"
        holder = self._enter(http_request, operation)
        content_type = http_request.headers.get("content-type", "application/json")
        if not http_request.can_read_body:
            return await self._forward(http_request, holder, path, query, path_model or "", None, None)
        raw = await self._body(http_request)
        body: dict[str, Any] | None = None
        if content_type.startswith("application/json"):
            body = openai.parse_object(raw)
            if path in OPERATIONS or path_model is not None:
                http_request[MODEL] = body["model"] = openai.model_of(body, path_model)
                if path_model is not None:
                    raw = orjson.dumps(body)
        return await self._forward(http_request, holder, path, query, http_request.get(MODEL, ""), raw, body)

    async def _forward(
        self,
        http_request: web.Request,
        holder: KeyHolder,
        path: str,
        query: str,
        model: str,
        raw: bytes | None,
        body: Json | None,
    ) -> web.StreamResponse:
        named = model or (body or {}).get("model")
        known = isinstance(named, str) and (named in self._surface.models or self._surface.any_model)
        if model and not known:
            raise UnknownModel(f"no model named {model!r} is configured; see GET /v1/models", param="model")
        sent = Outgoing(
            method=http_request.method,
            path=path,
            query=query,
            model=str(named) if known and named else self._surface.relay_to,
            body=raw,
            json=body if known and named else None,
            content_type=http_request.headers.get("content-type", "application/json"),
            streamed=bool((body or {}).get("stream")),
        )
        ctx = self._context(http_request, holder.tenant, wishes_of(http_request.headers, {}))
        return await self._relay.pass_on(http_request, sent, ctx, time.monotonic())

    def _enter(self, http_request: web.Request, operation: str) -> KeyHolder:
        http_request[OPERATION] = operation
        return self._keys.holder(http_request.headers)

    async def _body(self, http_request: web.Request) -> bytes:
        """The whole body. The server itself never times out on a slowly sent one, so this does."""
        try:
            async with asyncio.timeout(self._surface.body_s):
                return await http_request.read()
        except TimeoutError:
            error = InvalidRequest("the body did not arrive in time", code="request_timeout")
            error.status = 408
            raise error from None

    def _context(
        self, http_request: web.Request, tenant: Tenant, wishes: Wishes, promise_s: float | None = None
    ) -> RequestContext:
        """``promise_s``: what the model promises. A caller's deadline then moves the promise, not the end of all work:
        an answer that is not ready by then is replaced, not cut off."""
        total_s = self._surface.total_s
        if promise_s is None:
            total_s = min(wishes.deadline_s or total_s, total_s)
        return RequestContext(
            id=http_request[REQUEST_ID],
            tenant=tenant,
            deadline=Deadline.after(total_s),
            promise=Deadline.after(wishes.deadline_s or promise_s) if promise_s is not None else None,
            draft=wishes.draft,
            wishes=wishes.cache,
            timings=Timings(),
            trace_headers={n: http_request.headers[n] for n in TRACE_HEADERS if n in http_request.headers},
        )
