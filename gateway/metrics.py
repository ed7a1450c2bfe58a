"""What the gateway tells of itself: one method per thing that happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from gateway.chat import CacheOutcome, ServedBy
from gateway.instruments import REFRESH_S, SHARED, Counter, Floats, Gauge, Notes, settle_all
from gateway.series import Series

OTHER = "other"  # label for model names that are not configured
PROMISE_S = 5.0


Chat = tuple[CacheOutcome, ServedBy | str, bool, str]  # cache, served by, whether it streamed, outcome
Ended = tuple[str, str, str, Chat | None]  # operation, model, error type ("" where it went well), how the chat ended
Called = tuple[str, str, str, str, str, str]  # deployment, its kind, kind of attempt, operation, model, result:
# ok, cancelled, or what went wrong


class Metrics(Series):
    """``models`` bounds the model label.

    What every request tells is no method but is written down: ``requests`` that callers made, ``calls`` to deployments,
    each with its seconds; and ``requests_now``, how many are under way beside those that are watched.
    """

    def __init__(self, models: tuple[str, ...] = ()) -> None:
        registry = CollectorRegistry()
        registry.register(self)  # before the series, so that those have been told all when they are looked at
        super().__init__(registry)
        self._models = frozenset(models)
        self.requests_now = 0
        self._under_way: list[Callable[[], int]] = []
        self._in_flight.set_function(lambda: float(self.requests_now + sum(count() for count in self._under_way)))
        self.requests = Notes(self._tell_request)
        self.calls = Notes(self._tell_call)
        self.writers: list[Callable[[], None]] = []  # to be called for what they have not written down here yet

    def model_label(self, model: str) -> str:
        return model if model in self._models else OTHER

    # what callers see

    def watch_requests(self, under_way: Callable[[], int]) -> None:
        """``under_way`` is asked at every scrape."""
        self._under_way.append(under_way)

    def client_left(self) -> None:
        self._disconnects.inc()

    def first_token(self, model: str, cache: CacheOutcome, served_by: ServedBy, seconds: float) -> None:
        label = self.model_label(model)
        self._server_first_token.labels("chat", label).observe(seconds)
        self._first_token.labels(label, cache, served_by).observe(seconds)

    def stage_ended(self, stage: str, outcome: str, seconds: float) -> None:
        self._stages.labels(stage, outcome).observe(seconds)

    # cache

    def cache_lookup(self, tier: str, result: str) -> None:
        self._cache_requests.labels(tier, result).inc()

    def cache_hit(self, tier: str, age_s: float, similarity: float | None) -> None:
        """``similarity`` of the questions, where the answer was found by meaning."""
        self._cache_age.labels(tier).observe(age_s)
        if similarity is not None:
            self._cache_similarity.observe(similarity)

    def cache_rejected(self, reason: str) -> None:
        self._cache_rejects.labels(reason).inc()

    def cache_standing(self, scopes: Mapping[str, int], audited: int, audited_wrong: int, upper95: float) -> None:
        """How the semantic tier stands in this process; ``scopes`` by learning, serving, off."""
        for state, count in scopes.items():
            self._cache_scopes.labels(state).set(count)
        self._cache_audited.labels("agreed").set(audited - audited_wrong)
        self._cache_audited.labels("contradicted").set(audited_wrong)
        self._cache_wrong_upper.set(upper95)

    def cache_written(self, result: str) -> None:
        self._cache_writes.labels(result).inc()

    def cache_saved(self, tier: str, tenant: str, model: str, seconds: float) -> None:
        """``tenant`` comes from the configuration."""
        labels = (tenant, self.model_label(model), tier)
        self._cache_hits.labels(*labels).inc()
        self._cache_saved.labels(*labels).inc(seconds)

    def cache_hits(self) -> list[dict[str, str | float]]:
        """Rows of tenant, model, tier, hits and saved seconds, since the process began."""
        saved = {tuple(s.labels.values()): s.value for s in _totals(self._cache_saved)}
        return [
            {**s.labels, "hits": s.value, "saved_s": saved[tuple(s.labels.values())]} for s in _totals(self._cache_hits)
        ]

    def cache_evicted(self, reason: str) -> None:
        self._cache_evictions.labels(reason).inc()

    def watch_redis(self, up: Callable[[], bool]) -> None:
        """``up`` is asked at every scrape."""
        self._redis_up.set_function(lambda: float(up()))

    def shared(self, result: str) -> None:
        """``result``: ok, or away."""
        self._shared.labels(result).inc()

    # upstream

    def upstream_first_chunk(self, operation: str, provider: str, model: str, seconds: float) -> None:
        self._client_first_chunk.labels(operation, provider, self.model_label(model)).observe(seconds)

    def tokens(self, model: str, prompt: int, completion: int) -> None:
        label = self.model_label(model)
        self._client_tokens.labels(label, "input").inc(prompt)
        self._client_tokens.labels(label, "output").inc(completion)

    def spent(self, tenant: str, model: str, reason: str, prompt: int, completion: int, money: float) -> None:
        """``reason``: answer, draft, answerability, judge, rewrite, settle, details, hedge, abandoned, background,
        embedding or verification. ``tenant`` comes from the configuration."""
        label = self.model_label(model)
        self._spend_tokens.labels(tenant, label, reason, "input").inc(prompt)
        self._spend_tokens.labels(tenant, label, reason, "output").inc(completion)
        if money:
            self._spend.labels(tenant, label, reason).inc(money)

    def limit_reached(self, tenant: str, limit: str) -> None:
        self._limits.labels(tenant, limit).inc()

    def watch_limit(self, tenant: str, key: str, limit: str, used: Callable[[], float]) -> None:
        """``used`` is asked at every scrape."""
        self._limit_used.labels(tenant, key, limit).set_function(used)

    def draft_judged(self, model: str, result: str, score: float | None) -> None:
        label = self.model_label(model)
        self._drafts.labels(label, result).inc()
        if score is not None:
            self._draft_score.labels(label).observe(score)

    def answerability(self, model: str, result: str) -> None:
        self._answerability.labels(self.model_label(model), result).inc()

    def draft_checked(self, model: str, result: str) -> None:
        self._draft_checks.labels(self.model_label(model), result).inc()

    def curtailed(self, model: str) -> None:
        self._curtailed.labels(self.model_label(model)).inc()

    def judged(self, result: str) -> None:
        self._judge.labels(result).inc()

    def judge_margin(self, margin: float) -> None:
        self._judge_margin.observe(margin)

    def judge_learned(self, right: bool) -> None:
        self._judge_audits.labels("agreed" if right else "contradicted").inc()

    def settled(self, result: str) -> None:
        self._settled.labels(result).inc()

    def flipped(self, kept: str, model_changed: bool) -> None:
        """``kept``: earlier, fresh or corrected. ``model_changed``: another model answered than before."""
        self._flips.labels(kept, "changed" if model_changed else "same").inc()

    def provider_epoch(self, model: str) -> None:
        self._epochs.labels(self.model_label(model)).inc()

    def details_ended(self, result: str) -> None:
        self._details.labels(result).inc()

    def resumed(self, model: str, result: str) -> None:
        self._resumed.labels(self.model_label(model), result).inc()

    def deadline_ended(self, margin_s: float, degraded_to: str) -> None:
        self._deadlines.labels("met" if margin_s >= 0 else "missed", degraded_to).inc()
        self._deadline_margin.observe(margin_s)

    def watch_deployment(
        self, deployment: str, state: Callable[[], float], calls: Callable[[], float], limit: Callable[[], float]
    ) -> None:
        """The three are asked at every scrape."""
        self._deployment_state.labels(deployment).set_function(state)
        self._deployment_calls.labels(deployment).set_function(calls)
        self._deployment_limit.labels(deployment).set_function(limit)

    def overloaded(self, model: str) -> None:
        self._overloaded.labels(self.model_label(model)).inc()

    # documents

    def source_ended(self, source: str, outcome: str, seconds: float) -> None:
        self._sources.labels(source, outcome).observe(seconds)

    def rewritten(self, result: str) -> None:
        self._rewrites.labels(result).inc()

    def evidence(self, passages: int) -> None:
        self._passages.observe(passages)

    # reviewed answers

    def answers(self, by_status: Mapping[str, int]) -> None:
        for status, count in by_status.items():
            self._answers.labels(status).set(count)

    def answer_served(self, status: str, how: str) -> None:
        self._answers_served.labels(status, how).inc()

    def found(self, kind: str) -> None:
        self._findings.labels(kind).inc()

    def facts_compared(self, of: str, agreed: bool) -> None:
        self._facts_compared.labels(of, "agreed" if agreed else "contradicted").inc()

    def verified(self, result: str) -> None:
        self._verified.labels(result).inc()

    # what was written down

    def _tell_request(self, ended: Ended, seconds: Floats) -> None:
        operation, model, error_type, chat = ended
        label = self.model_label(model)
        self._server_duration.labels(operation, label, error_type).observe_all(seconds)
        if chat is not None:
            self._tell_chat(label, chat, seconds)

    def _tell_chat(self, model: str, chat: Chat, seconds: Floats) -> None:
        cache, served_by, stream, outcome = chat
        labels = (model, cache, served_by, "true" if stream else "false", outcome)
        self._requests.labels(*labels).observe_all(seconds)
        good = int(np.count_nonzero(seconds <= PROMISE_S)) if outcome == "ok" else 0
        for result, count in (("good", good), ("bad", len(seconds) - good)):
            if count:
                self._promise.labels("5s", result).inc(count)

    def _tell_call(self, called: Called, seconds: Floats) -> None:
        deployment, provider, kind, operation, model, result = called
        outcome = result if result in {"ok", "cancelled"} else "failed"
        self._attempts.labels(deployment, kind, outcome).inc(len(seconds))
        labels = (operation, provider, self.model_label(model), "" if result == "ok" else result)
        self._client_duration.labels(*labels).observe_all(seconds)

    def collect(self) -> Iterable[Metric]:
        """No series of its own: whatever was written down is told to those that are looked at after this."""
        for write in self.writers:
            write()
        self.requests.tell()
        self.calls.tell()
        return ()

    def exposition(self) -> bytes:
        """The text format that Prometheus scrapes; with several workers that of all of them together."""
        if not SHARED:
            return generate_latest(self.registry)
        self.collect()
        settle_all()
        self._refresh()
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    async def refresh_for_others(self) -> None:
        """Keep what is asked at scrapes up to date for scrapes of other workers."""
        while SHARED:
            self._refresh()
            await asyncio.sleep(REFRESH_S)

    def _refresh(self) -> None:
        for gauge, ask in Gauge.functions:
            gauge.set(ask())


def _totals(counter: Counter) -> list[Sample]:
    return [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]
