"""Every exported series, named once.

OpenTelemetry GenAI names where a convention exists (semantic-conventions-genai, dots as underscores, seconds),
``ocho_*`` for the rest. Labels come from enums or from the configuration, never from callers' text.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client import Counter as _Counter
from prometheus_client import Gauge as _Gauge
from prometheus_client import Histogram as _Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from gateway.chat import CacheOutcome, ServedBy

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per child that nobody reads

# Seconds. Edges at the 5 s promise and the 30 s complaint.
LATENCY_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 10,
    15, 20, 25, 30, 45, 60, 90, 120,
)  # fmt: skip
STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIMILARITY_BUCKETS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1)
AGE_BUCKETS = (1, 10, 60, 300, 1800, 3600, 21600, 86400, 604800)
OTHER = "other"  # label for model names that are not configured
PROMISE_S = 5.0


SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # several workers, one exposition: see gateway/cli/workers.py
REFRESH_S = 1.0


class _Children:
    """Finds the child of each set of label values by one dictionary lookup; the library's own way takes ten times as
    long. Label values are bounded (see above), so what is remembered is too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[tuple[str, ...], Any] = {}

    def labels(self, *values: str) -> Any:
        child = self._known.get(values)
        if child is None:
            child = self._known[values] = super().labels(*values)  # type: ignore[misc]
        return child


class _Settling(_Children):
    """Adds up in plain numbers. The library's values, each behind a lock, get the sums when somebody looks; with
    several workers each is in a file and gets them once per turn of the event loop. On the loop's thread only."""

    unsettled: ClassVar[list[_Settling]] = []  # with several workers: those that were added to in this turn

    def _metric_init(self) -> None:
        super()._metric_init()  # type: ignore[misc]
        self._waits = not SHARED  # to be settled already, or not before a scrape
        self._begin()

    def _child_samples(self) -> Any:
        self._settle()
        return super()._child_samples()  # type: ignore[misc]

    def _settle_soon(self) -> None:
        self._waits = True
        self.unsettled.append(self)
        if len(self.unsettled) == 1:
            asyncio.get_running_loop().call_soon(_settle_all)

    def _begin(self) -> None:
        raise NotImplementedError

    def _settle(self) -> None:
        raise NotImplementedError


def _settle_all() -> None:
    for child in _Settling.unsettled:
        child._settle()
        child._waits = False
    _Settling.unsettled.clear()


class Counter(_Settling, _Counter):  # type: ignore[misc]
    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        self._added += amount
        if not self._waits:
            self._settle_soon()

    def _begin(self) -> None:
        self._added = 0.0

    def _settle(self) -> None:
        if self._added:
            self._value.inc(self._added)
            self._added = 0.0


class Histogram(_Settling, _Histogram):  # type: ignore[misc]
    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """The bucket found by bisection. Exemplars are not kept."""
        self._added += amount
        self._counts[bisect_left(self._upper_bounds, amount)] += 1
        if not self._waits:
            self._settle_soon()

    def _begin(self) -> None:
        self._added = 0.0
        self._counts = [0] * len(self._upper_bounds)

    def _settle(self) -> None:
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(self._added)
        self._begin()


class Gauge(_Children, _Gauge):  # type: ignore[misc]
    """With several workers a gauge is their sum, unless its ``multiprocess_mode`` says otherwise."""

    functions: ClassVar[list[tuple[_Gauge, Callable[[], float]]]] = []

    def set_function(self, f: Callable[[], float]) -> None:
        """``f`` is asked at every scrape; where another worker may be the one that is scraped, every second."""
        if SHARED:
            self.functions.append((self, f))
        super().set_function(f)


class Metrics:
    """All series of one gateway process. ``models`` bounds the model label."""

    def __init__(self, models: tuple[str, ...] = (), registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._models = frozenset(models)
        self._requests_now = 0

        def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = (), *, of_workers: str = "livesum") -> Gauge:
            return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=of_workers)

        self._server_duration = histogram(
            "gen_ai_server_request_duration_seconds",
            "Request read until last byte written, as the caller sees it.",
            ("gen_ai_operation_name", "gen_ai_request_model", "error_type"),
            LATENCY_BUCKETS,
        )
        self._server_first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Request read until the first content token is on its way to the caller.",
            ("gen_ai_operation_name", "gen_ai_request_model"),
            LATENCY_BUCKETS,
        )
        self._client_duration = histogram(
            "gen_ai_client_operation_duration_seconds",
            "One upstream call, from sending to its end.",
            ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type"),
            LATENCY_BUCKETS,
        )
        self._client_first_chunk = histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "One upstream call, from sending to its first content token.",
            ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"),
            LATENCY_BUCKETS,
        )
        self._client_tokens = counter(
            "gen_ai_client_token_usage",
            "Tokens as the provider reported them.",
            ("gen_ai_request_model", "gen_ai_token_type"),
        )
        self._requests = histogram(
            "ocho_request_duration_seconds",
            "Chat requests by how they were answered.",
            ("model", "cache", "served_by", "stream", "outcome"),
            LATENCY_BUCKETS,
        )
        self._first_token = histogram(
            "ocho_time_to_first_token_seconds",
            "First content token of chat answers by how they were answered.",
            ("model", "cache", "served_by"),
            LATENCY_BUCKETS,
        )
        self._stages = histogram(
            "ocho_stage_duration_seconds", "Stages inside a request.", ("stage", "outcome"), STAGE_BUCKETS
        )
        self._promise = counter(
            "ocho_slo_requests",
            "Chat requests finished within the 5 s promise (good) or not (bad).",
            ("objective", "result"),
        )
        self._cache_requests = counter("ocho_cache_requests", "Cache lookups.", ("tier", "result"))
        self._cache_rejects = counter(
            "ocho_cache_rejects", "Semantic candidates that were refused, by the rule that refused them.", ("reason",)
        )
        self._cache_similarity = histogram(
            "ocho_cache_similarity",
            "Similarity of the questions that semantic hits were found by.",
            (),
            SIMILARITY_BUCKETS,
        )
        self._cache_scopes = gauge(
            "ocho_cache_scopes", "Scopes by how meaning is compared in them: learning (nothing served by score yet), "
            "serving, off (too many audited hits were wrong).", ("state",),
        )  # fmt: skip
        self._cache_audited = gauge(
            "ocho_cache_audited_hits", "Semantic hits that were answered afresh and compared, since the start.",
            ("result",),
        )  # fmt: skip
        self._cache_wrong_upper = gauge(
            "ocho_cache_wrong_hit_upper95",
            "Upper bound (Clopper-Pearson, 95 %) of the share of semantic hits that are wrong; 1 before an audit.",
            of_workers="livemax",
        )
        self._cache_wrong_upper.set(1)
        self._cache_age = histogram("ocho_cache_entry_age_seconds", "Age of served entries.", ("tier",), AGE_BUCKETS)
        self._cache_writes = counter("ocho_cache_writes", "Finished answers offered to the cache.", ("result",))
        self._cache_saved = counter(
            "ocho_cache_saved_seconds",
            "Seconds that hits saved: what their answers once took to make.",
            ("tenant", "model", "tier"),
        )
        self._cache_hits = counter("ocho_cache_hits", "Answers given from the cache.", ("tenant", "model", "tier"))
        self._cache_evictions = counter(
            "ocho_cache_evictions", "Answers that left the in-process cache: room, tenant (over its limit), ended.",
            ("reason",),
        )  # fmt: skip
        self._attempts = counter("ocho_upstream_attempts", "Calls to deployments.", ("deployment", "kind", "result"))
        self._spend = counter(
            "ocho_spend", "Money spent upstream, in the currency of the configured prices.",
            ("tenant", "model", "reason"),
        )  # fmt: skip
        self._spend_tokens = counter(
            "ocho_spend_tokens", "Tokens paid for, by who asked and what they were spent on.",
            ("tenant", "model", "reason", "type"),
        )  # fmt: skip
        self._limits = counter(
            "ocho_limit_refusals", "Requests refused because their API key had used what it may.", ("tenant", "limit")
        )
        self._limit_used = gauge(
            "ocho_limit_used_ratio", "Share of a limit that an API key (by the beginning of its hash) has used.",
            ("tenant", "key", "limit"), of_workers="livemax",
        )  # fmt: skip
        self._drafts = counter("ocho_drafts", "Short answers of the fast model, by their verdict.", ("model", "result"))
        self._draft_score = histogram(
            "ocho_draft_score",
            "Estimated probability that a draft is right.",
            ("model",),
            (0.1, 0.25, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1),
        )
        self._judge = counter(
            "ocho_judge", "Verdicts on questions that similarity cannot tell apart: yes, no, late, failed, too dear.",
            ("result",),
        )  # fmt: skip
        self._judge_margin = histogram(
            "ocho_judge_margin", "log p(Yes) - log p(No) of verdicts, in nats.", (),
            (-16, -8, -4, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 16),
        )  # fmt: skip
        self._judge_audits = counter(
            "ocho_judge_audits", "Verdicts that were held against an answer given afresh.", ("result",)
        )
        self._settled = counter(
            "ocho_settled", "Answers from documents by how they were settled before they were given: fine (the first "
            "sample), second, third, earlier (the kept answer stood), doubtful, unfinished (a promised time ran "
            "out).", ("result",),
        )  # fmt: skip
        self._flips = counter(
            "ocho_flips", "Fresh answers that contradicted the earlier one on the same documents, by which was kept.",
            ("kept", "model"),
        )  # fmt: skip
        self._epochs = counter(
            "ocho_provider_epochs", "Times that another model or system_fingerprint began to answer.", ("model",)
        )
        self._details = counter(
            "ocho_details", "Sections of details appended to short answers: whole, unsupported (ended before a "
            "sentence that no document states) or failed.", ("result",),
        )  # fmt: skip
        self._resumed = counter(
            "ocho_resumed_streams", "Answers that broke off after a part was sent and were gone on with elsewhere: ok, "
            "failed, or other (what came did not join on).", ("model", "result"),
        )  # fmt: skip
        self._deadlines = counter(
            "ocho_deadline", "Answers against their promised time, by what was given.", ("result", "degraded_to")
        )
        self._deadline_margin = histogram(
            "ocho_deadline_margin_seconds", "Time left when the last byte was ready; below 0 the promise was missed.",
            (), (-30, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5),
        )  # fmt: skip
        self._deployment_state = gauge(
            "ocho_deployment_state",
            "0 healthy, 1 worth one probe, 2 set aside; as it is at the scrape.",
            ("deployment",),
            of_workers="livemax",
        )
        self._deployment_calls = gauge(
            "ocho_deployment_calls", "Calls under way at a deployment; as it is at the scrape.", ("deployment",)
        )
        self._deployment_limit = gauge(
            "ocho_deployment_limit", "Calls that a deployment is given at once; +Inf until it was congested.",
            ("deployment",),
        )  # fmt: skip
        self._overloaded = counter(
            "ocho_overload_refusals", "Requests refused because no deployment had room for them in time.", ("model",)
        )
        self._sources = histogram(
            "ocho_retrieval_source_duration_seconds", "Document sources.", ("source", "outcome"), STAGE_BUCKETS
        )
        self._passages = histogram(
            "ocho_retrieval_passages", "Passages in the evidence of a request.", (), (0, 1, 2, 3, 5, 10, 20)
        )
        self._rewrites = counter(
            "ocho_rewrites", "Follow-ups that a fast model wrote out for the search: joined (what that found is in the "
            "evidence), unchanged, late, failed, too dear.", ("result",),
        )  # fmt: skip
        self._answers = gauge(
            "ocho_answers", "Reviewed answers and those that wait for a reviewer, by status.", ("status",),
            of_workers="livemax",
        )  # fmt: skip
        self._answers_served = counter(
            "ocho_answers_served",
            "Reviewed answers given: pinned, approved, noted (documents changed since), or a refusal in the place of a "
            "rejected answer; and how the question was recognised.",
            ("status", "how"),
        )
        self._findings = counter("ocho_review_findings", "Answers put up for review, by what was found.", ("kind",))
        self._facts_compared = counter(
            "ocho_facts_compared",
            "Answers that were made twice and compared by what they state: a repeat of the very same question, or "
            "samples in the background.",
            ("of", "result"),
        )
        self._verified = counter(
            "ocho_verifications", "Kept answers that were asked for again in the background, by what came of it.",
            ("result",),
        )  # fmt: skip
        self._in_flight = gauge("ocho_in_flight_requests", "Requests being served.")
        self._tasks = gauge("ocho_asyncio_tasks", "Tasks on the event loop; growth under a steady load is a leak.")
        self._tasks.set_function(_tasks)
        self._disconnects = counter("ocho_client_disconnects", "Callers that left before their answer ended.")
        self._redis_up = gauge(
            "ocho_redis_up", "1 while Redis answers or none is configured, 0 while its breaker is open.",
            of_workers="livemin",
        )  # fmt: skip
        self._redis_up.set(1)
        self._in_flight.set_function(lambda: float(self._requests_now))
        self._shared = counter(
            "ocho_shared_rounds", "Rounds in which gateways on one Redis told each other of limits and deployments.",
            ("result",),
        )  # fmt: skip

    def model_label(self, model: str) -> str:
        return model if model in self._models else OTHER

    # what callers see

    def request_started(self) -> None:
        self._requests_now += 1

    def request_ended(self, operation: str, model: str, error_type: str, seconds: float) -> None:
        self._requests_now -= 1
        self._server_duration.labels(operation, self.model_label(model), error_type).observe(seconds)

    def client_left(self) -> None:
        self._disconnects.inc()

    def chat_ended(
        self, model: str, cache: CacheOutcome, served_by: ServedBy | str, stream: bool, outcome: str, seconds: float
    ) -> None:
        self._requests.labels(
            self.model_label(model), cache, served_by, "true" if stream else "false", outcome
        ).observe(seconds)
        good = outcome == "ok" and seconds <= PROMISE_S
        self._promise.labels("5s", "good" if good else "bad").inc()

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

    def upstream_attempt(self, deployment: str, kind: str, result: str) -> None:
        self._attempts.labels(deployment, kind, result).inc()

    def upstream_first_chunk(self, operation: str, provider: str, model: str, seconds: float) -> None:
        self._client_first_chunk.labels(operation, provider, self.model_label(model)).observe(seconds)

    def upstream_ended(self, operation: str, provider: str, model: str, error_type: str, seconds: float) -> None:
        self._client_duration.labels(operation, provider, self.model_label(model), error_type).observe(seconds)

    def tokens(self, model: str, prompt: int, completion: int) -> None:
        label = self.model_label(model)
        self._client_tokens.labels(label, "input").inc(prompt)
        self._client_tokens.labels(label, "output").inc(completion)

    def spent(self, tenant: str, model: str, reason: str, prompt: int, completion: int, money: float) -> None:
        """``reason``: answer, draft, judge, rewrite, settle, details, hedge, abandoned, background, embedding or
        verification. ``tenant`` comes from the configuration."""
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

    def exposition(self) -> bytes:
        """The text format that Prometheus scrapes; with several workers that of all of them together."""
        if not SHARED:
            return generate_latest(self.registry)
        _settle_all()
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


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked where no loop runs
        return 0
