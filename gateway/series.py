"""Every exported series, named once.

OpenTelemetry GenAI names where a convention exists (semantic-conventions-genai, dots as underscores, seconds),
``ocho_*`` for the rest. Labels come from enums or from the configuration, never from callers' text.
"""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, disable_created_metrics

from gateway.instruments import Counter, Gauge, Histogram

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per child that nobody reads

# Seconds. Edges at the 5 s promise and the 30 s complaint.
LATENCY_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 10,
    15, 20, 25, 30, 45, 60, 90, 120,
)  # fmt: skip
STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIMILARITY_BUCKETS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1)
AGE_BUCKETS = (1, 10, 60, 300, 1800, 3600, 21600, 86400, 604800)


class Series:
    """The series of one gateway process, for ``Metrics`` to feed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

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
        self._answerability = counter(
            "ocho_answerability", "Whether a passage states what the question asks for: yes, no, unclear, failed.",
            ("model", "result"),
        )  # fmt: skip
        self._draft_checks = counter(
            "ocho_draft_checks",
            "What the big model said of drafts that passed: agreed, upheld (it said something else, but not twice), "
            "outvoted, silent.",
            ("model", "result"),
        )
        self._curtailed = counter(
            "ocho_curtailed_answers",
            "Sized answers that were ended with a sentence because another one would not have been done in time.",
            ("model",),
        )
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
            "sample), second to fifth, earlier (the kept answer stood), doubtful (none is sure), none (none is likely "
            "right: that the documents do not say it), unfinished (a promised time ran out).", ("result",),
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
            "ocho_rewrites", "Follow-ups that a fast model wrote out: there (what that finds best was found already), "
            "joined (it is in the evidence now), unchanged, late, failed, too dear.", ("result",),
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
        self._shared = counter(
            "ocho_shared_rounds", "Rounds in which gateways on one Redis told each other of limits and deployments.",
            ("result",),
        )  # fmt: skip


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked where no loop runs
        return 0
