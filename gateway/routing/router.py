"""One request, one answer: picks deployments in order, and moves on when one fails before its first content token."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import orjson
import structlog

from gateway.chat import Answer, ChatRequest, Closed, Delta, Opened, RequestContext, Send, ServedBy, has_content
from gateway.clock import Clock
from gateway.errors import (
    ELSEWHERE_STATUS,
    TRANSIENT_STATUS,
    UnknownModel,
    UpstreamBroken,
    UpstreamError,
    UpstreamRejected,
)
from gateway.metrics import Metrics
from gateway.ports import Forwarded, Outgoing, Timeouts, Upstream
from gateway.routing.deployments import Deployments, Health, Pace
from gateway.routing.hedge import Claim, Lost, hedged
from gateway.routing.policy import rank
from gateway.routing.spend import Allowance, Ledger, Price, prompt_tokens

log = structlog.get_logger()

ANY_MODEL = "*"
MAX_WAIT_S = 10.0  # for a deployment to take requests again; a caller knows better what to do with longer waits
MAX_REJECTION_BYTES = 64 * 1024
BACKOFF_S = 0.2  # before asking a deployment again; doubles, with full jitter (AWS builders' library)


@dataclass(frozen=True, slots=True)
class Hedge:
    """When a second deployment is asked beside a silent first one."""

    quantile: float  # of the first one's recent first-token times
    min_s: float
    allowance: Allowance  # share of tokens that may go in vain


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests for one model may go."""

    deployments: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()  # other models, in order, when every deployment of this one failed
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 2  # further attempts after the first
    model: str = ""  # whose deployments these are, where it is another one
    hedge: Hedge | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    health: Health
    model: str  # whose deployment this is: another one than was asked for after a fallback
    kind: str  # primary, retry, fallback, hedge
    timeouts: Timeouts
    number: int
    again: bool = False  # this deployment was asked before, for this request


class Router:
    """Sends requests to deployments of the model that was asked for."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        deployments: Deployments,
        upstream: Upstream,
        metrics: Metrics,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self._routes = routes
        self._deployments = deployments
        self._upstream = upstream
        self._metrics = metrics
        self._clock = deployments.clock
        self.ledger = Ledger(prices or {}, metrics)

    async def stream(
        self, request: ChatRequest, ctx: RequestContext, opened: Opened, send: Send, *, purpose: str = "answer"
    ) -> Answer:
        """Send ``opened`` (completed with what is known by then), the deltas and Closed; return the whole answer.

        Nothing is sent before the first content token, so until then a failure can be made good elsewhere.
        ``purpose``: what its cost is charged to. Raises UpstreamError.
        """
        failure: UpstreamError | None = None
        for attempt in self._attempts(request.requested_model):
            if attempt.again and failure is not None and not failure.transient:
                break
            await self._pause(attempt, failure, ctx)
            try:
                return await self._stream_hedged(attempt, request, ctx, opened, send, purpose)
            except _BeforeContent as before:
                failure = before.error
                if not failure.retryable:
                    break
        assert failure is not None  # every route has a deployment (settings)
        raise failure

    async def _stream_hedged(
        self, attempt: Attempt, request: ChatRequest, ctx: RequestContext, opened: Opened, send: Send, purpose: str
    ) -> Answer:
        """One attempt, and a second one beside it when the first is slower than it usually is."""
        hedge = self._route(attempt.model).hedge
        late_s = attempt.health.first_token_quantile(hedge.quantile) if hedge is not None else None
        spare = self._spare(attempt)
        if hedge is None or late_s is None or spare is None:
            return await self._stream_once(attempt, request, ctx, opened, send, purpose, _alone)
        tokens = prompt_tokens(request.body)
        hedge.allowance.earn(tokens)
        return await hedged(
            lambda claim: self._stream_once(attempt, request, ctx, opened, send, purpose, claim),
            lambda claim: self._stream_once(spare, request, ctx, opened, send, purpose, claim),
            max(hedge.min_s, late_s),
            lambda: hedge.allowance.take(tokens),
        )

    def _spare(self, attempt: Attempt) -> Attempt | None:
        """The best healthy deployment of the same model other than that of ``attempt``."""
        now = self._clock()
        others = [self._deployments[name] for name in self._route(attempt.model).deployments]
        fit = [h for h in others if h is not attempt.health and h.state(now) == 0]
        if not fit:
            return None
        health = rank(fit, now, random.randrange)[0]
        return replace(attempt, health=health, kind="hedge", number=attempt.number + 1)

    async def _stream_once(
        self,
        attempt: Attempt,
        request: ChatRequest,
        ctx: RequestContext,
        opened: Opened,
        send: Send,
        purpose: str,
        claim: Claim,
    ) -> Answer:
        outgoing = replace(request, requested_model=attempt.model)
        call = _Call(attempt, ctx, opened, send, self._clock, claim)
        with self._watched(attempt, "chat") as outcome:
            try:
                stream = self._upstream.stream(attempt.health.deployment, outgoing, ctx, attempt.timeouts)
                async with stream as events:
                    async for event in events:
                        if isinstance(event, Delta):
                            call.delta(event)
                        elif isinstance(event, Closed):
                            call.closed(event)
                            outcome.append("ok")
                            self._measure(call, event.answer)
                            self.ledger.charge(attempt.model, purpose, outgoing, event.answer, call.pieces)
                            return event.answer
                raise UpstreamBroken(f"the answer of deployment {attempt.health.deployment.name} stopped in the middle")
            except UpstreamError as error:
                outcome.append(error.code or "upstream_error")
                self._failed(attempt, error, ctx)
                if call.first_token_s is not None:
                    self.ledger.charge(attempt.model, "abandoned", outgoing, None, call.pieces)
                    raise
                raise _BeforeContent(error) from error
            except (asyncio.CancelledError, Lost):  # it read the prompt, and that is paid for
                reason = "hedge" if attempt.kind == "hedge" else "abandoned"
                self.ledger.charge(attempt.model, reason, outgoing, None, call.pieces)
                raise

    def _measure(self, call: _Call, answer: Answer) -> None:
        attempt = call.attempt
        self._metrics.deployment_state(attempt.health.deployment.name, 0)
        if call.first_token_s is not None:
            kind = attempt.health.deployment.kind
            self._metrics.upstream_first_chunk("chat", kind, attempt.model, call.first_token_s)
        if answer.usage is not None:
            self._metrics.tokens(attempt.model, answer.usage.prompt_tokens, answer.usage.completion_tokens)

    async def forward(self, sent: Outgoing, ctx: RequestContext) -> Passing:
        """Pass bytes on to the first deployment that takes them; whoever gets the reply closes it.

        Raises UpstreamError.
        """
        failure: UpstreamError | None = None
        attempts = list(self._attempts(sent.model))
        for tried, attempt in enumerate(attempts, start=1):
            if failure is not None:
                if attempt.again and not failure.transient:
                    break
                await self._pause(attempt, failure, ctx)
            passing = Passing(attempt, sent.operation, self._metrics, self._clock)
            deployment = attempt.health.deployment
            outgoing = sent if attempt.model == sent.model else replace(sent, model=attempt.model)
            try:
                reply = await self._upstream.forward(deployment, outgoing, ctx, attempt.timeouts)
                passing.answered(reply)
                if not _worth_another(reply.status, attempts[tried:]):
                    return passing
                failure = await _rejection(deployment.name, reply)
            except UpstreamError as error:
                passing.failed(error)
                failure = error
            except BaseException:
                passing.close()
                raise
            passing.close()
            self._failed(attempt, failure, ctx)
        assert failure is not None
        raise failure

    def deployments_of(self, model: str) -> tuple[str, ...]:
        return self._route(model).deployments

    def pace(self, model: str) -> Pace:
        """How fast the deployment that would be asked now usually is."""
        health = [self._deployments[name] for name in self._route(model).deployments]
        now = self._clock()
        return min(health, key=lambda h: (h.state(now), h.first_token_s)).pace

    def _route(self, model: str) -> Route:
        route = self._routes.get(model) or self._routes.get(ANY_MODEL)
        if route is None:
            known = ", ".join(sorted(self._routes)) or "none"
            raise UnknownModel(f"no model named {model!r} is configured; configured models: {known}", param="model")
        return route

    def _attempts(self, model: str) -> Iterator[Attempt]:
        """Every deployment once, best first, then fallback models, then (few enough) the best ones again."""
        route = self._route(model)
        model = route.model or model
        now = self._clock()
        ranked = rank([self._deployments[name] for name in route.deployments], now, random.randrange)
        number = 0
        for health in ranked:
            number += 1
            yield Attempt(health, model, "primary" if number == 1 else "retry", route.timeouts, number)
        for fallback in route.fallbacks:
            other = self._route(fallback)
            for health in rank([self._deployments[name] for name in other.deployments], now, random.randrange):
                number += 1
                yield Attempt(health, fallback, "fallback", other.timeouts, number)
        while number <= route.retries:
            number += 1
            yield Attempt(ranked[(number - 1) % len(ranked)], model, "retry", route.timeouts, number, again=True)

    async def _pause(self, attempt: Attempt, failure: UpstreamError | None, ctx: RequestContext) -> None:
        """Wait before asking a deployment that just failed; a fresh one is asked at once. Raises ``failure``
        when the wait would be long or outlast the deadline: an error now beats the same error later."""
        if failure is None:
            return
        aside_s = attempt.health.aside_until - self._clock()
        wait_s = aside_s if aside_s > 0 else 0.0
        if attempt.health.failures:
            wait_s = max(wait_s, random.uniform(0, BACKOFF_S * 2 ** (attempt.number - 2)))
        if wait_s >= min(ctx.deadline.remaining_s(), MAX_WAIT_S):
            raise failure
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _failed(self, attempt: Attempt, error: UpstreamError, ctx: RequestContext) -> None:
        health = attempt.health
        if error.retryable:
            health.failed(self._clock(), error.retry_after_s)
        self._metrics.deployment_state(health.deployment.name, health.state(self._clock()))
        log.warning(
            "upstream attempt failed", deployment=health.deployment.name, attempt=attempt.number, error=str(error),
            request_id=ctx.id,
        )  # fmt: skip

    @contextmanager
    def _watched(self, attempt: Attempt, operation: str) -> Iterator[list[str]]:
        """Count one call: load while it runs, its outcome and seconds at its end (an empty outcome: cancelled)."""
        health = attempt.health
        began = self._clock()
        outcome: list[str] = []
        health.started()
        try:
            yield outcome
        finally:
            health.ended()
            count_call(
                self._metrics, attempt, operation, outcome[-1] if outcome else "cancelled", self._clock() - began
            )


class Passing:
    """One call to a deployment and the reply that is passed on: load while it runs, outcome and seconds at its end."""

    __slots__ = ("_began", "_clock", "_metrics", "_operation", "_outcome", "attempt", "reply")

    def __init__(self, attempt: Attempt, operation: str, metrics: Metrics, clock: Clock) -> None:
        self.attempt = attempt
        self.reply: Forwarded
        self._operation = operation
        self._metrics = metrics
        self._clock = clock
        self._outcome = "cancelled"
        self._began = clock()
        attempt.health.started()

    def answered(self, reply: Forwarded) -> None:
        self.reply = reply
        if reply.status < 400:
            now = self._clock()
            self._outcome = "ok"
            self.attempt.health.succeeded(now - self._began, now)
        else:
            self._outcome = str(reply.status)

    def failed(self, error: UpstreamError) -> None:
        self._outcome = error.code or "upstream_error"

    def close(self) -> None:
        """End the call, once."""
        health = self.attempt.health
        if hasattr(self, "reply"):
            self.reply.close()
        health.ended()
        count_call(self._metrics, self.attempt, self._operation, self._outcome, self._clock() - self._began)


def count_call(metrics: Metrics, attempt: Attempt, operation: str, result: str, seconds: float) -> None:
    """``result``: ok, cancelled, or what went wrong."""
    deployment = attempt.health.deployment
    metrics.upstream_attempt(deployment.name, attempt.kind, result if result in ("ok", "cancelled") else "failed")
    metrics.upstream_ended(operation, deployment.kind, attempt.model, "" if result == "ok" else result, seconds)


class _Call:
    """One upstream answer on its way to the listeners. Holds back what proves nothing until the first content token."""

    def __init__(
        self, attempt: Attempt, ctx: RequestContext, opened: Opened, send: Send, clock: Clock, claim: Claim
    ) -> None:
        self.attempt = attempt
        self.first_token_s: float | None = None  # seconds from sending; None: nothing sent to listeners yet
        self._ctx = ctx
        self._opened = opened
        self._send = send
        self._clock = clock
        self._claim = claim
        self._began = clock()
        self.pieces = 0
        self._held: list[Delta] = []

    def delta(self, event: Delta) -> None:
        self.pieces += 1
        if self.first_token_s is not None:
            self._send(event)
            return
        self._held.append(event)
        if event.text or has_content(event.chunk):
            self._open(str(event.chunk.get("model") or ""))

    def closed(self, event: Closed) -> None:
        if self.first_token_s is None:
            self._open(event.answer.model)
        seconds = self._clock() - self._began
        if self.first_token_s is not None and event.answer.usage is not None:
            tokens = event.answer.usage.completion_tokens
            self.attempt.health.pace.measured(self.first_token_s, tokens, seconds - self.first_token_s)
        self._ctx.timings.record("upstream", seconds)
        self._send(Closed(event.answer, dict(self._ctx.timings.stages)))

    def _open(self, model: str) -> None:
        if not self._claim():
            raise Lost
        now = self._clock()
        self.first_token_s = now - self._began
        self.attempt.health.succeeded(self.first_token_s, now)
        self._ctx.timings.record("upstream_ttft", self.first_token_s)
        self._send(
            replace(
                self._opened,
                served_by=ServedBy.HEDGE if self.attempt.kind == "hedge" else self._opened.served_by,
                deployment=self.attempt.health.deployment.name,
                attempts=self.attempt.number,
                model=model or self._opened.model,
                stages=dict(self._ctx.timings.stages),
            )
        )
        for event in self._held:
            self._send(event)


def _alone() -> bool:
    """The claim of a call that nobody contests."""
    return True


class _BeforeContent(Exception):
    """A failure that the caller has seen nothing of."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(str(error))
        self.error = error


def _worth_another(status: int, rest: list[Attempt]) -> bool:
    if status in TRANSIENT_STATUS:
        return bool(rest)
    return status in ELSEWHERE_STATUS and any(not attempt.again for attempt in rest)


async def _rejection(name: str, reply: Forwarded) -> UpstreamRejected:
    """A reply that nobody is shown unless all others fail too."""
    body = bytearray()
    while len(body) < MAX_REJECTION_BYTES and (piece := await reply.read()):
        body += piece
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict) or "error" not in payload:
        payload = None
    message = f"deployment {name} answered {reply.status}"
    return UpstreamRejected(message, status=reply.status, payload=payload, retry_after_s=reply.retry_after_s)
