"""An answer on its way to the same question in other words: listened to, once its first paragraph answers both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from gateway.cache.exact import ExactCache
from gateway.cache.inflight import Inflight
from gateway.cache.twins import Flying, Near
from gateway.cache.writer import CacheWriter
from gateway.chat import AnswerEvent, CacheHit, CacheOutcome, Closed, Opened, Send
from gateway.errors import GatewayError
from gateway.plan import Asking
from gateway.samples import Held


@dataclass(frozen=True, slots=True)
class Follower:
    inflight: Inflight
    writer: CacheWriter
    exact: ExactCache

    async def follow(self, asking: Asking, near: Near, send: Send) -> CacheHit | None:
        """Pass the answer on, and note it in ``asking.followed``. A hit where it has just landed, or does not answer
        this wording as well: then both are to be held against what each other finds."""
        leader = near.flying
        async with self.inflight.follow(leader.place, leader.flight) as batches:
            if batches is not None and await self._passed_on(asking, leader, batches, send):
                return None
        await self.writer.drain()
        return await self.exact.newest(leader.key, near.neighbor.similarity)

    async def _passed_on(
        self, asking: Asking, leader: Flying, batches: AsyncIterator[Sequence[AnswerEvent]], send: Send
    ) -> bool:
        """False where its first paragraph is refuted: then it is waited for, and not given. Raises what breaks it once
        it has been begun to be given."""
        held, refuted = Held(), False
        try:
            async for batch in batches:
                for event in map(_joined, batch):
                    if refuted:
                        continue
                    if leader.key in asking.followed:
                        self._alias_at_end(asking, leader, event)
                        send(event)
                        continue
                    held.hear(event)
                    refuted = held.lead is not None and asking.refutes(held.lead)
                    if held.lead is not None and not refuted:
                        asking.followed.add(leader.key)
                        self._alias_at_end(asking, leader, event)
                        held.let_go(send)
        except GatewayError:
            if leader.key in asking.followed:
                raise
            return True
        return not refuted

    def _alias_at_end(self, asking: Asking, leader: Flying, event: AnswerEvent) -> None:
        """Before the event is sent: then the last listener can leave."""
        if isinstance(event, Closed) and asking.job.writes:
            self.writer.alias(asking.job.keys, asking.job.request, leader.key, asking.evidence, asking.vector)


def _joined(event: AnswerEvent) -> AnswerEvent:
    return replace(event, cache=CacheOutcome.COALESCED) if isinstance(event, Opened) else event
