"""One request, one answer: at the deployment that is best now, and at another when it fails or is late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import structlog

from gateway.chat import Answer, ChatRequest, Closed, Delta, Opened, RequestContext, Send
from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamBroken, UpstreamError
from gateway.metrics import Metrics
from gateway.ports import Outgoing, Upstream
from gateway.routing.admission import Line
from gateway.routing.attempts import Attempt, Attempts, Target
from gateway.routing.call import BeforeContent, Call, Enough, Interrupted
from gateway.routing.deployments import Deployments, Health, Pace
from gateway.routing.hedge import Claim, Lost, hedged
from gateway.routing.metering import Charge, costs
from gateway.routing.passing import Passing, rejection
from gateway.routing.plain import is_plain
from gateway.routing.resume import Continuation, Diverged, going_on, text_of
from gateway.routing.retries import RetryBudget
from gateway.routing.route import ANY_MODEL, Hedge, Route, route_of
from gateway.routing.spend import Errand, Ledger, Price, prompt_tokens, used

__all__ = ["ANY_MODEL", "Attempt", "Hedge", "Route", "Router"]

log = structlog.get_logger()

PREFIX_CHARS = 512  # of a prompt: enough to tell system prompts apart, which is what providers keep


class Router:
    """Sends requests to deployments of the model that was asked for."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        deployments: Deployments,
        upstream: Upstream,
        metrics: Metrics,
        prices: Mapping[str, Price] | None = None,
        chance: Random | None = None,
    ) -> None:
        self._chance = chance or Random()  # which deployments are drawn, and jitter
        self._routes = routes
        self._deployments = deployments
        self._upstream = upstream
        self._metrics = metrics
        self._clock: Clock = deployments.clock
        self.ledger = Ledger(prices or {}, metrics)
        self._lines: dict[tuple[str, ...], Line] = {}
        self._targets: dict[str, tuple[Target, ...]] = {}
        self._budgets: dict[str, RetryBudget] = {}
        for health in deployments:
            _watch(health, metrics, self._clock)

    async def stream(
        self, request: ChatRequest, ctx: RequestContext, opened: Opened, send: Send, errand: Errand | None = None
    ) -> Answer:
        """Send ``opened`` (completed with what is known by then), the deltas and Closed; return the whole answer.

        Nothing is sent before the first content token, so until then a failure can be made good elsewhere; after it a
        plain answer is gone on with elsewhere, once.
        ``errand``: what its cost is charged to. Raises UpstreamError, and Overloaded where nobody has room in time.
        """
        attempts = self._attempts(request.requested_model, ctx, _prefix(request))
        errand = errand or Errand()
        failure: UpstreamError | None = None
        while True:
            attempt = await attempts.next(failure)
            try:
                return await self._stream_hedged(attempts, attempt, request, ctx, opened, send, errand)
            except BeforeContent as before:
                failure = before.error
            except Interrupted as broken:
                return await self._go_on(attempts, broken, request, errand)
            finally:
                attempt.line.leave(attempt.slot)

    async def _go_on(self, attempts: Attempts, broken: Interrupted, request: ChatRequest, errand: Errand) -> Answer:
        """The rest of an answer that broke off, from another deployment. Raises the error it broke off with where that
        cannot be had."""
        text = text_of(broken.call.sent) if broken.error.retryable and is_plain(request, weighs=errand.weighs) else None
        if not text or not attempts.elsewhere():
            raise broken.error
        model = broken.call.attempt.model
        result = "failed"
        try:
            attempt = replace(await attempts.next(broken.error), kind="resume")
            try:
                call = Continuation(broken.call, attempt, text)
                answer = await self._stream_once(call, replace(request, body=going_on(request.body, text)), errand)
                result = "ok"
                return answer
            finally:
                attempt.line.leave(attempt.slot)
        except Diverged:
            result = "other"
            raise broken.error from None
        except (BeforeContent, Interrupted, GatewayError):
            raise broken.error from None
        finally:
            self._metrics.resumed(model, result)

    async def forward(self, sent: Outgoing, ctx: RequestContext, *, metered: bool = False) -> Passing:
        """Pass bytes on to the first deployment that takes them; whoever gets the reply closes it.

        ``metered``: its cost has to be known even where no price is.
        Raises UpstreamError, and Overloaded where nobody has room in time.
        """
        attempts = self._attempts(sent.model, ctx, None)
        failure: UpstreamError | None = None
        while True:
            attempt = (attempts.at_once() if failure is None else None) or await attempts.next(failure)
            charge = self._charge_of(attempt, sent, ctx) if metered or self.ledger.prices(attempt.model) else None
            passing = Passing(attempt, sent, self._metrics, self._clock, charge)
            outgoing = sent if attempt.model == sent.model else replace(sent, model=attempt.model)
            try:
                deployment = attempt.slot.health.deployment
                reply = await self._upstream.forward(deployment, outgoing, ctx, attempt.timeouts)
                passing.answered(reply)
                if reply.status < 400 or not attempts.more(reply.status):
                    return passing
                failure = await rejection(attempt.name, reply)
            except UpstreamError as error:
                passing.failed(error)
                failure = error
            except BaseException:
                passing.close()
                raise
            self._failed(attempt, failure, ctx)
            passing.close()

    def deployments_of(self, model: str) -> tuple[str, ...]:
        return self._route(model).deployments

    def hedges(self, model: str) -> bool:
        """Whether late answers of the model are also asked for elsewhere."""
        return self._route(model).hedge is not None

    def pace(self, model: str) -> Pace:
        """How fast the deployment that would be asked now usually is."""
        health = [self._deployments[name] for name in self._route(model).deployments]
        now = self._clock()
        return min(health, key=lambda h: (h.state(now), h.first_token_s)).pace

    def roomy(self, model: str) -> bool:
        """Whether a deployment of it has room for calls that nobody waits for."""
        now = self._clock()
        return any(self._deployments[name].roomy(now) for name in self._route(model).deployments)

    async def _stream_hedged(
        self,
        attempts: Attempts,
        attempt: Attempt,
        request: ChatRequest,
        ctx: RequestContext,
        opened: Opened,
        send: Send,
        errand: Errand,
    ) -> Answer:
        """One attempt, and a second one beside it when the first is slower than it usually is."""
        hedge = self._route(attempt.model).hedge
        late_s = _late_s(attempt, hedge) if hedge is not None else None

        def call(attempt: Attempt, claim: Claim) -> Call:
            return Call(attempt, ctx, opened, send, self._clock, claim, errand.weighs)

        if hedge is None or late_s is None:
            return await self._stream_once(call(attempt, _alone), request, errand)
        tokens = prompt_tokens(request.body)
        hedge.budget.earn(tokens)
        spares: list[Attempt] = []

        def may_start() -> bool:
            if not hedge.budget.take(tokens):
                return False
            if (spare := attempts.spare(attempt)) is None:
                hedge.budget.give_back(tokens)
                return False
            spares.append(spare)
            return True

        try:
            return await hedged(
                lambda claim: self._stream_once(call(attempt, claim), request, errand),
                lambda claim: self._stream_once(call(spares[0], claim), request, errand),
                max(hedge.min_s, late_s),
                may_start,
            )
        finally:
            for spare in spares:
                spare.line.leave(spare.slot)

    async def _stream_once(self, call: Call, request: ChatRequest, errand: Errand) -> Answer:
        attempt, ctx = call.attempt, call.ctx
        outgoing = replace(request, requested_model=attempt.model)

        def charge(reason: str, usage: tuple[int, int] | None = None) -> None:
            self.ledger.charge(ctx, attempt.model, reason, request.body, usage, call.pieces)

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
                            charge(errand.reason, used(event.answer))
                            return event.answer
                raise UpstreamBroken(f"the answer of deployment {attempt.name} stopped in the middle")
            except UpstreamError as error:
                outcome.append(error.code or "upstream_error")
                if not call.talks(error):
                    self._failed(attempt, error, ctx)
                if call.first_token_s is not None:
                    charge("abandoned")
                    raise Interrupted(error, call) from error  # listeners have seen a part
                raise BeforeContent(error) from error
            except (asyncio.CancelledError, Lost, Enough):  # it read the prompt, and that is paid for
                charge("hedge" if attempt.kind == "hedge" else "abandoned")
                raise

    def _charge_of(self, attempt: Attempt, sent: Outgoing, ctx: RequestContext) -> Charge | None:
        if not costs(sent):
            return None
        reason = "embedding" if sent.path == "embeddings" else "answer"

        def charge(usage: tuple[int, int] | None, pieces: int) -> None:
            self.ledger.charge(ctx, attempt.model, reason, sent.json or {}, usage, pieces)

        return charge

    def _measure(self, call: Call, answer: Answer) -> None:
        attempt = call.attempt
        attempt.health.succeeded()
        if call.first_token_s is not None:
            kind = attempt.health.deployment.kind
            self._metrics.upstream_first_chunk("chat", kind, attempt.model, call.first_token_s)
        if answer.usage is not None:
            self._metrics.tokens(attempt.model, answer.usage.prompt_tokens, answer.usage.completion_tokens)

    def _attempts(self, model: str, ctx: RequestContext, prefix: bytes | None) -> Attempts:
        targets = self._targets.get(model) or self._found(model)
        own = targets[0]
        many = len(own.route.deployments) > 1
        return Attempts(targets, self._budgets[own.model], ctx, self._clock, self._chance, prefix if many else None)

    def _found(self, model: str) -> tuple[Target, ...]:
        """Where requests for ``model`` may go: its own deployments, then those of its fallbacks."""
        route = self._route(model)
        fallbacks = [self._target(fallback, self._route(fallback)) for fallback in route.fallbacks]
        targets = (self._target(route.model or model, route), *fallbacks)
        self._budgets.setdefault(targets[0].model, RetryBudget(at=self._clock()))
        if model in self._routes:  # names that callers make up are not remembered
            self._targets[model] = targets
        return targets

    def _target(self, model: str, route: Route) -> Target:
        line = self._lines.get(route.deployments)
        if line is None:
            pool = [self._deployments[name] for name in route.deployments]
            line = Line(model, pool, self._clock, self._metrics, route.max_wait_s)
            self._lines[route.deployments] = line
        return Target(model, route, line)

    def _route(self, model: str) -> Route:
        return route_of(self._routes, model)

    def _failed(self, attempt: Attempt, error: UpstreamError, ctx: RequestContext) -> None:
        if error.retryable and not attempt.in_line(error):
            attempt.health.failed(self._clock(), error.retry_after_s)
        log.warning(
            "upstream attempt failed", deployment=attempt.name, attempt=attempt.number, error=str(error),
            cause=_of_the_network(error), request_id=ctx.id,
        )  # fmt: skip

    @contextmanager
    def _watched(self, attempt: Attempt, operation: str) -> Iterator[list[str]]:
        """Count one call: its outcome and seconds at its end (an empty outcome: cancelled)."""
        began = self._clock()
        outcome: list[str] = []
        try:
            yield outcome
        finally:
            seconds = self._clock() - began
            result = outcome[-1] if outcome else "cancelled"
            if result == "ok":
                attempt.health.pace.ended(seconds)
            attempt.line.leave(attempt.slot)
            deployment = attempt.health.deployment
            called = (deployment.name, deployment.kind, attempt.kind, operation, attempt.model, result)
            self._metrics.calls[called].append(seconds)


def _watch(health: Health, metrics: Metrics, clock: Clock) -> None:
    metrics.watch_deployment(
        health.deployment.name,
        lambda: float(health.state(clock())),
        lambda: float(health.in_flight),
        lambda: health.limit.value,
    )


def _late_s(attempt: Attempt, hedge: Hedge) -> float | None:
    """When the first token is late: later than this deployment usually is, or than most others are. None while too
    little is known. Where everything has become slow, so has this."""
    own = attempt.health.first_token_quantile(hedge.quantile)
    if own is None:
        return None
    pool = (h.first_token_quantile(hedge.quantile) for h in attempt.line.pool)
    known = sorted(seconds for seconds in pool if seconds is not None)
    late_s = min(own, known[(len(known) - 1) // 2])
    return late_s if hedge.budget.plenty else 2 * late_s


def _prefix(request: ChatRequest) -> bytes:
    """What providers may have in their prompt caches: the beginning."""
    return request.messages[0].text[:PREFIX_CHARS].encode("utf-8", "surrogatepass") if request.messages else b""


def _alone() -> bool:
    """The claim of a call that nobody contests."""
    return True


def _of_the_network(error: BaseException) -> str:
    """What the operating system said, if that is where it began. Callers are not told; it holds no text of theirs."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else ""
