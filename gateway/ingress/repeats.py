"""The same bytes asked again: answered at once, in one write, without a task and without reading the body again.

A request that hit the exact cache is remembered under all that decided where its answer is kept: who asked, the model
in its path, its body. Whether that answer may be given is asked anew each time, of the same store and the same record
of documents; only where it is kept and what it looks like on the wire is remembered. Requests with wishes in their
headers and whatever is not a plain hit go the long way.
"""

from __future__ import annotations

import random
import time
from collections import Counter, OrderedDict
from hashlib import sha256

import orjson

from gateway.cache.exact import Found
from gateway.cache.replay import replay
from gateway.chat import AnswerEvent, CacheHit, CacheOutcome, ChatRequest, Closed, Delta, Opened, ServedBy
from gateway.clock import Timings
from gateway.ingress.answering import Showing
from gateway.ingress.auth import KeyHolder, KeyRing
from gateway.ingress.caller import Caller, Reply, header_lines
from gateway.ingress.reply import STREAM_HEADERS, answer_headers, server_timing
from gateway.ingress.sse import DONE, ChatWriter, timing_comment
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.values import dataclass

MAX_REPEATS = 4096  # requests remembered
MAX_BYTES = 16 << 20  # of their answers
_EXACT, _CACHE = CacheOutcome.EXACT, ServedBy.CACHE  # members take long to look up


@dataclass(frozen=True, slots=True)
class _Repeat:
    """A request that was answered from the cache, and its answer as it goes out but for what is new each time."""

    found: Found
    length: int  # of the request's body
    model: str
    stream: bool
    head: str  # header lines
    body: bytes
    id: bytes
    created: bytes

    def anew(self) -> bytes:
        """The body with an identity of its own."""
        id = b"chatcmpl-%032x" % random.getrandbits(128)
        return self.body.replace(self.id, id).replace(self.created, b'"created":%d' % time.time())


class Repeats:
    """The latest requests that hit the exact cache. Their words are not kept here, only a digest."""

    def __init__(self, keys: KeyRing, pipeline: Pipeline, metrics: Metrics, showing: Showing) -> None:
        self._keys = keys
        self._pipeline = pipeline
        self._metrics = metrics
        self._showing = showing
        self._known: OrderedDict[tuple[str, str | None, bytes], _Repeat] = OrderedDict()
        self._lengths: Counter[int] = Counter()  # of the bodies: whoever sends another length need not be looked up
        self._bytes = 0
        self._generation = pipeline.exact.generation

    def __len__(self) -> int:
        return len(self._known)

    def reply(self, caller: Caller, path_model: str | None, body: bytes) -> Reply | None:
        """The kept answer to a request that was answered before; None where it takes more than a look."""
        if not self._known:
            return None
        if self._generation != self._pipeline.exact.generation:  # a purge: nothing of it stays in memory
            self._clear()
        if len(body) not in self._lengths:
            return None
        began = time.monotonic()
        if caller.head.wishes or (holder := self._keys.known(caller.head.key)) is None:
            return None
        key = _key(holder, path_model, body)
        repeat = self._known.get(key)
        if repeat is None:
            return None
        timings = Timings()
        hit = self._pipeline.again(repeat.found, caller.id, timings)
        if hit is None:
            self._forget(key)
            return None
        self._known.move_to_end(key)
        caller.model = repeat.model
        caller.chat = (_EXACT, _CACHE, repeat.stream, "ok")
        return self._replied(caller, repeat, hit, timings, began)

    def remember(
        self, found: Found, request: ChatRequest, holder: KeyHolder, path_model: str | None, body: bytes
    ) -> None:
        """``request`` was answered with what was ``found``. It had no wishes and named no documents."""
        if not self._pipeline.exact.at_hand:
            return
        repeat = _written(found, len(body), request, self._showing)
        if repeat is None:
            return
        key = _key(holder, path_model, body)
        self._forget(key)
        self._known[key] = repeat
        self._lengths[len(body)] += 1
        self._bytes += len(repeat.body)
        while len(self._known) > MAX_REPEATS or self._bytes > MAX_BYTES:
            self._forget(next(iter(self._known)))

    def _replied(self, caller: Caller, repeat: _Repeat, hit: CacheHit, timings: Timings, began: float) -> Reply:
        body = repeat.anew()
        headers = {"x-request-id": caller.id}
        if self._showing.hit_details:
            headers["age"] = str(int(hit.entry.age_s(time.time())))
        elapsed = time.monotonic() - began
        if repeat.stream:
            self._metrics.first_token(repeat.model, _EXACT, _CACHE, elapsed)
        if self._showing.timing:
            headers["server-timing"] = server_timing(timings.stages, None if repeat.stream else elapsed)
            if repeat.stream:
                body = body.removesuffix(DONE) + timing_comment(timings.stages, elapsed) + DONE
        return Reply(200, body, headers, repeat.head)

    def _forget(self, key: tuple[str, str | None, bytes]) -> None:
        repeat = self._known.pop(key, None)
        if repeat is not None:
            self._bytes -= len(repeat.body)
            self._lengths[repeat.length] -= 1
            if not self._lengths[repeat.length]:
                del self._lengths[repeat.length]

    def _clear(self) -> None:
        self._generation = self._pipeline.exact.generation
        self._known.clear()
        self._lengths.clear()
        self._bytes = 0


def _key(holder: KeyHolder, path_model: str | None, body: bytes) -> tuple[str, str | None, bytes]:
    return holder.key_id, path_model, sha256(body).digest()


def _written(found: Found, length: int, request: ChatRequest, showing: Showing) -> _Repeat | None:
    """The answer as the long way writes it. None where its ids and times cannot be told from its words."""
    entry, events = found.entry, list[AnswerEvent]()
    replay(CacheHit(entry, CacheOutcome.EXACT), events.append, pieces=request.stream)
    opened, *deltas = [event for event in events if not isinstance(event, Closed)]
    assert isinstance(opened, Opened)
    writer = ChatWriter(request, timing=False)
    headers = answer_headers(opened, details=showing.hit_details)
    headers.pop("age", None)
    if request.stream:
        chunks = [delta for delta in deltas if isinstance(delta, Delta)]
        body = b"".join([writer.opened(opened), *map(writer.delta, chunks), writer.closed(entry.answer, {}, 0.0)])
        identity = chunks[0].chunk if chunks else {}
        headers |= STREAM_HEADERS
    else:
        identity = writer.whole(entry.answer, opened, "")
        body = orjson.dumps(identity)
        headers["content-type"] = "application/json"
    id, created = str(identity.get("id")).encode(), b'"created":%d' % identity.get("created", 0)
    if not body.count(id) == body.count(created) > 0:
        return None
    return _Repeat(found, length, request.requested_model, request.stream, header_lines(headers), body, id, created)
