"""One call whose reply is passed on as bytes: what it tells of its deployment on the way."""

from __future__ import annotations

import math

from gateway.chat import Json
from gateway.clock import Clock
from gateway.errors import MAX_ERROR_BYTES, UpstreamError, UpstreamRejected, UpstreamTimeout, error_payload
from gateway.metrics import Metrics
from gateway.ports import OPERATIONS, Forwarded, Outgoing
from gateway.routing.attempts import Attempt
from gateway.routing.call import STILL_TALKING_S
from gateway.routing.metering import Charge, Metered


class Passing:
    """A call to a deployment and its reply: load while it runs, outcome and seconds at its end."""

    __slots__ = (
        "_began", "_charge", "_clock", "_health", "_metrics", "_operation", "_outcome", "_streamed", "answered_at",
        "attempt", "heard_at", "reply",
    )  # fmt: skip

    def __init__(
        self, attempt: Attempt, sent: Outgoing, metrics: Metrics, clock: Clock, charge: Charge | None = None
    ) -> None:
        """``charge``: hears what the reply cost."""
        self.attempt = attempt
        self._charge = charge
        self.reply: Forwarded
        self._health = attempt.slot.health
        self._operation = OPERATIONS.get(sent.path, "other")
        self._streamed = sent.streamed
        self._metrics = metrics
        self._clock = clock
        self._outcome = "cancelled"
        self._began = clock()
        self.heard_at = -math.inf  # when the latest piece of a stream with content came
        if not sent.streamed:
            self._health.shows_nothing(attempt.slot.call)

    def answered(self, reply: Forwarded) -> None:
        """The headers are here."""
        health = self._health
        self.reply = reply
        self.answered_at = now = self._clock()
        if reply.status >= 400:
            self._outcome = str(reply.status)
            return
        self._outcome = "ok"
        if self._charge is not None:
            self.reply = reply = Metered(reply, self._charge)
        if self._streamed:
            self.reply = _Watched(reply, self)
            return
        if self._operation != "other":
            health.replied(self._operation, now - self._began, now)
        health.succeeded()

    def failed(self, error: UpstreamError) -> None:
        self._outcome = error.code or "upstream_error"

    def broke(self, error: UpstreamError) -> None:
        """The reply stopped on its way."""
        self.failed(error)
        talked = isinstance(error, UpstreamTimeout) and self._clock() - self.heard_at < STILL_TALKING_S
        if not talked and not self.attempt.in_line(error):
            self._health.failed(self._clock())

    def close(self) -> None:
        """End the call, once. ``reply`` is gone then."""
        if hasattr(self, "reply"):
            self.reply.close()
            del self.reply  # which may know this call: together they would wait for the garbage collector
        seconds = self._clock() - self._began
        if self._outcome == "ok":
            self._health.pace.ended(seconds)
        attempt = self.attempt
        attempt.line.leave(attempt.slot)
        deployment = self._health.deployment
        self._metrics.calls[
            deployment.name, deployment.kind, attempt.kind, self._operation, attempt.model, self._outcome
        ].append(seconds)


class _Watched:
    """A streamed reply: its first content token, its end and its failures are news of the deployment."""

    __slots__ = ("_passing", "_reply", "_silent")

    def __init__(self, reply: Forwarded, passing: Passing) -> None:
        self._reply = reply
        self._passing = passing
        self._silent = True

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Json:
        return self._reply.headers

    @property
    def retry_after_s(self) -> float | None:
        return self._reply.retry_after_s

    @property
    def content_seen(self) -> bool:
        return self._reply.content_seen

    def rest(self) -> None:
        """A stream is read as it comes."""

    async def read(self) -> bytes:
        try:
            piece = await self._reply.read()
        except UpstreamError as error:
            self._passing.broke(error)
            raise
        if self._reply.content_seen:
            self._passing.heard_at = self._passing._clock()
        if self._silent and self._reply.content_seen:
            self._silent = False
            attempt = self._passing.attempt
            attempt.health.answered(attempt.slot.call, self._passing.heard_at)
        elif not piece:
            self._passing.attempt.health.succeeded()
        return piece

    def close(self) -> None:
        self._reply.close()


async def rejection(name: str, reply: Forwarded) -> UpstreamRejected:
    """A reply that nobody is shown unless all others fail too."""
    body = bytearray()
    while len(body) < MAX_ERROR_BYTES and (piece := await reply.read()):
        body += piece
    payload = error_payload(bytes(body))
    message = f"deployment {name} answered {reply.status}"
    return UpstreamRejected(message, status=reply.status, payload=payload, retry_after_s=reply.retry_after_s)
