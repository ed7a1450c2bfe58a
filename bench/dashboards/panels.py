"""What the dashboards show: panels and their PromQL, free of Grafana's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "stacked", "stat", "bars"]
Unit = Literal["s", "percentunit", "reqps", "short", "cps", "bytes"]  # Grafana's names

RATE = "$__rate_interval"
MODEL = 'model=~"$model"'


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""  # Grafana's ``{{label}}`` marks; "" for a single series


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    text: str  # what a reader should conclude from it
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    width: int = 8  # of 24
    marks: tuple[float, ...] = ()  # horizontal lines: the promise, the complaint, the bound


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    text: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


def quantiles(
    series: str, labels: str = "", by: str = "", of: tuple[float, ...] = (0.5, 0.95, 0.99)
) -> tuple[Query, ...]:
    """Quantiles of a histogram, as one query each; ``by`` splits them by a label."""
    inside = f"{{{labels}}}" if labels else ""
    group, mark = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    return tuple(
        Query(
            f"histogram_quantile({q}, sum by ({group}) (rate({series}_bucket{inside}[{RATE}])))",
            f"p{round(q * 100)}{mark}",
        )
        for q in of
    )


def rates(counter: str, by: str, labels: str = "") -> tuple[Query, ...]:
    """A counter's rate, split by labels."""
    inside = f"{{{labels}}}" if labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return (Query(f"sum by ({by}) (rate({counter}{inside}[{RATE}]))", legend),)


def events(counter: str, by: str) -> tuple[Query, ...]:
    """``rates`` of what may never happen: 0 until then."""
    (found,) = rates(counter, by)
    return (Query(f"{found.expr} or vector(0)", found.legend),)


def share(part: str, whole: str) -> str:
    """A ratio that is 0 while the part has not happened, and absent while nothing has."""
    return f"(sum(rate({part}[{RATE}])) or vector(0)) / (sum(rate({whole}[{RATE}])) > 0)"


FIVE_SECONDS = Dashboard(
    "ocho-five-seconds",
    "Ocho: five seconds",
    "Do callers have a complete answer within five seconds, and who gives it?",
    (
        Row(
            "The promise",
            (
                Panel("Within 5 s", "Share of chat requests with a complete answer within five seconds, last 5 min.",
                      "percentunit", (Query("ocho:slo_5s:ratio_rate5m"),), "stat", 4),
                Panel("Answer time p50", "Half of all callers have their whole answer by then.",
                      "s", quantiles("ocho_request_duration_seconds", MODEL, of=(0.5,)), "stat", 4),
                Panel("Answer time p95", "Nineteen of twenty callers have their whole answer by then.",
                      "s", quantiles("ocho_request_duration_seconds", MODEL, of=(0.95,)), "stat", 4),
                Panel("First token p95", "When the slowest twentieth sees the first word.",
                      "s", quantiles("ocho_time_to_first_token_seconds", MODEL, of=(0.95,)), "stat", 4),
                Panel("Chat requests", "Arrivals per second.", "reqps",
                      (Query(f"sum(rate(ocho_request_duration_seconds_count{{{MODEL}}}[{RATE}]))"),), "stat", 4),
                Panel("In flight", "Requests being served right now.", "short",
                      (Query("sum(ocho_in_flight_requests)"),), "stat", 4),
                Panel("Answer time", "Complete answers. The lines: the promise (5 s) and the complaint (30 s).",
                      "s", quantiles("ocho_request_duration_seconds", MODEL), marks=(5, 30)),
                Panel("First token", "First content token on its way to the caller.",
                      "s", quantiles("ocho_time_to_first_token_seconds", MODEL), marks=(5,)),
                Panel("Share within 5 s", "Against the objective of 99 %.", "percentunit",
                      (Query("ocho:slo_5s:ratio_rate5m", "5 min"), Query("ocho:slo_5s:ratio_rate1h", "1 h"),
                       Query("ocho:slo_5s:ratio_rate6h", "6 h")), marks=(0.99,)),
                Panel("Who answered", "Rising drafts mean a slow model; quote, stale and notice (the documents hold "
                      "nothing on it) are labelled.",
                      "reqps", rates("ocho_request_duration_seconds_count", "served_by", MODEL), "stacked"),
                Panel("Answer time by who answered", "Median per source of answers.",
                      "s", quantiles("ocho_request_duration_seconds", MODEL, "served_by", (0.5,)), marks=(5,)),
                Panel("Outcomes", "Anything but ok needs a look at Upstreams.",
                      "reqps", rates("ocho_request_duration_seconds_count", "outcome", MODEL), "stacked"),
            ),
        ),
        Row(
            "Deadline",
            (
                Panel("Promise kept", "met: by the promised time; the second word: what was given instead.",
                      "reqps", rates("ocho_deadline_total", "result, degraded_to"), "stacked"),
                Panel("Time left", "Between the last byte and the promise; below 0 it was missed. p5 is the tight end.",
                      "s", quantiles("ocho_deadline_margin_seconds", of=(0.05, 0.5)), marks=(0,)),
                Panel("Stages, p95", "Where the time goes inside a request.",
                      "s", quantiles("ocho_stage_duration_seconds", by="stage", of=(0.95,))),
                Panel("Drafts", "Verdicts on the fast model's short answers.",
                      "cps", rates("ocho_drafts_total", "result"), "stacked", 4),
                Panel("Draft score", "Estimated probability that a draft is right.",
                      "short", quantiles("ocho_draft_score", of=(0.1, 0.5)), width=4),
                Panel("Drafts checked", "What the big model said of drafts that passed; outvoted: it says otherwise, "
                      "twice.",
                      "cps", events("ocho_draft_checks_total", "result"), "stacked", 4),
                Panel("Passages that answer", "Verdicts of the fast model on the likeliest passages.",
                      "cps", rates("ocho_answerability_total", "result"), "stacked", 4),
                Panel("Details", "Appended to short answers; unsupported: ended before what no document states.",
                      "cps", events("ocho_details_total", "result"), "stacked", 4),
                Panel("Stages that failed or were late", "Optional work that an answer went on without.",
                      "cps", (Query(f'sum by (stage, outcome) (rate(ocho_stage_duration_seconds_count'
                                    f'{{outcome!="ok"}}[{RATE}])) or vector(0)', "{{stage}} {{outcome}}"),),
                      "stacked", 4),
            ),
        ),
    ),
)  # fmt: skip

CACHE_TRUTH = Dashboard(
    "ocho-cache-truth",
    "Ocho: cache truth",
    "How much does the cache answer, and may one believe it?",
    (
        Row(
            "Hits",
            (
                Panel("Answered from the cache", "Exact, by meaning, and joined twins, of all that might have been.",
                      "percentunit", (Query("ocho:cache_hit:ratio_rate5m"),), "stat", 6),
                Panel("By meaning", "Semantic hits per semantic lookup.", "percentunit",
                      (Query(share('ocho_cache_requests_total{tier="semantic", result="hit"}',
                                   'ocho_cache_requests_total{tier="semantic"}')),), "stat", 6),
                Panel("Redis", "1 while Redis answers (or none is configured).", "short",
                      (Query("min(ocho_redis_up)"),), "stat", 6),
                Panel("Age of served answers, p95", "How old the answers are that callers get again.", "s",
                      quantiles("ocho_cache_entry_age_seconds", of=(0.95,)), "stat", 6),
                Panel("How requests met the cache", "miss and bypass cost an upstream call; the rest do not.",
                      "reqps", rates("ocho_request_duration_seconds_count", "cache", MODEL), "stacked", 12),
                Panel("Lookups", "By tier.", "cps", rates("ocho_cache_requests_total", "tier, result"), "stacked", 12),
            ),
        ),
        Row(
            "Truth",
            (
                Panel("Why candidates were refused", "What vetoes and checks catch.",
                      "cps", rates("ocho_cache_rejects_total", "reason"), "stacked", 12),
                Panel("Similarity of hits", "Falls when questions get more varied, or the bar was lowered.",
                      "short", quantiles("ocho_cache_similarity", of=(0.05, 0.5)), "lines", 12),
                Panel("Age of served answers", "By tier.", "s",
                      quantiles("ocho_cache_entry_age_seconds", by="tier", of=(0.5, 0.95)), "lines", 12),
                Panel("Finished answers offered to the cache", "kept, or why not.", "cps",
                      rates("ocho_cache_writes_total", "result"), "stacked", 12),
                Panel("Wrong hits, upper bound", "Of the share of semantic hits that are wrong, 95 % sure, from those "
                      "answered afresh and compared. 1 until some were.",
                      "percentunit", (Query("max(ocho_cache_wrong_hit_upper95)"),), width=12, marks=(0.01,)),
                Panel("Scopes", "learning ones serve nothing by score yet; off: hits were wrong too often.", "short",
                      (Query("sum by (state) (ocho_cache_scopes) or vector(0)", "{{state}}"),), "stacked", 12),
                Panel("Judge", "Verdicts of the fast model on near questions.", "cps",
                      events("ocho_judge_total", "result"), "stacked", 12),
                Panel("Held against fresh answers", "Semantic hits since the start, and the judge's verdicts.", "short",
                      (Query("sum by (result) (ocho_cache_audited_hits) or vector(0)", "hits {{result}}"),
                       Query("sum by (result) (ocho_judge_audits_total) or vector(0)", "judge {{result}}")), width=12),
                Panel("Seconds saved", "That answers from the cache took when they were made, per second.", "s",
                      (Query(f"sum(rate(ocho_cache_saved_seconds_total[{RATE}])) or vector(0)"),), width=12),
                Panel("Evictions", "Steady ones: the cache is too small for its traffic.", "cps",
                      (Query(f"sum(rate(ocho_cache_evictions_total[{RATE}])) or vector(0)"),), width=12),
            ),
        ),
    ),
)  # fmt: skip

UPSTREAMS = Dashboard(
    "ocho-upstreams",
    "Ocho: upstreams",
    "Are the deployments well, how fast are they, and what do they cost?",
    (
        Row(
            "Health",
            (
                Panel("Deployments", "0 healthy, 1 probing, 2 set aside after failures.", "short",
                      (Query("max by (deployment) (ocho_deployment_state)", "{{deployment}}"),), "bars", 8),
                Panel("Attempts", "By deployment and result.", "cps",
                      rates("ocho_upstream_attempts_total", "deployment, result"), "stacked"),
                Panel("Kinds of attempt", "Retries, fallbacks and hedges are the price of a steady answer.", "cps",
                      rates("ocho_upstream_attempts_total", "kind"), "stacked"),
                Panel("First token of the provider", "Per model, before anything Ocho adds.", "s",
                      quantiles("gen_ai_client_operation_time_to_first_chunk_seconds", by="gen_ai_request_model",
                                of=(0.5, 0.95)), marks=(5,)),
                Panel("Upstream calls", "From sending to their end.", "s",
                      quantiles("gen_ai_client_operation_duration_seconds", by="gen_ai_request_model",
                                of=(0.5, 0.95)), marks=(5, 30)),
                Panel("Errors", "Upstream calls that failed, by kind.", "cps",
                      (Query(f'sum by (error_type) (rate(gen_ai_client_operation_duration_seconds_count'
                             f'{{error_type!=""}}[{RATE}])) or vector(0)', "{{error_type}}"),), "stacked"),
            ),
        ),
        Row(
            "Load",
            (
                Panel("Calls and their limit", "Calls under way at a deployment; the limit moves with what it bears.",
                      "short", (Query("sum by (deployment) (ocho_deployment_calls)", "{{deployment}}"),
                                Query("sum by (deployment) (ocho_deployment_limit)", "{{deployment}} limit"))),
                Panel("Refused", "For the callers' own limits and budgets, or because no deployment had room in time.",
                      "cps", (*events("ocho_limit_refusals_total", "limit"),
                              Query(f"sum(rate(ocho_overload_refusals_total[{RATE}])) or vector(0)", "overload")),
                      "stacked"),
                Panel("Streams gone on with elsewhere", "Answers that broke off at one deployment.", "cps",
                      (Query(f"sum(rate(ocho_resumed_streams_total[{RATE}])) or vector(0)"),)),
                Panel("Limits used", "Of what the API key of a tenant that is nearest to its limit may.", "percentunit",
                      (Query("max by (tenant, limit) (ocho_limit_used_ratio) or vector(0)", "{{tenant}} {{limit}}"),),
                      marks=(1,)),
                Panel("Tasks", "On the event loop; growth under a steady load is a leak.", "short",
                      (Query("sum(ocho_asyncio_tasks)"),)),
                Panel("Rounds with other gateways", "On one Redis they tell each other what was used, once a second.",
                      "cps", events("ocho_shared_rounds_total", "result"), "stacked"),
            ),
        ),
        Row(
            "Cost",
            (
                Panel("Tokens", "As the providers reported them.", "cps",
                      rates("gen_ai_client_token_usage_total", "gen_ai_token_type"), "stacked"),
                Panel("What tokens were spent on", "answer is the purpose; draft, hedge and abandoned buy time.", "cps",
                      rates("ocho_spend_tokens_total", "reason"), "stacked"),
                Panel("Money per hour", "In the currency of the configured prices.", "short",
                      (Query(f"3600 * sum by (reason) (rate(ocho_spend_total[{RATE}]))", "{{reason}}"),), "stacked"),
                Panel("Callers that left", "Before their answer ended.", "cps",
                      (Query(f"sum(rate(ocho_client_disconnects_total[{RATE}]))"),)),
                Panel("All HTTP requests", "Whatever the endpoint.", "reqps",
                      rates("gen_ai_server_request_duration_seconds_count", "gen_ai_operation_name"), "stacked"),
                Panel("Failed HTTP requests", "By error.", "reqps",
                      (Query(f'sum by (error_type) (rate(gen_ai_server_request_duration_seconds_count'
                             f'{{error_type!=""}}[{RATE}])) or vector(0)', "{{error_type}}"),), "stacked"),
            ),
        ),
    ),
)  # fmt: skip

DOCUMENTS = Dashboard(
    "ocho-documents",
    "Ocho: documents and consistency",
    "Is evidence found in time, and do the same questions get the same facts?",
    (
        Row(
            "Documents",
            (
                Panel("Search per source, p95", "A hung source shows here and is then cut off.", "s",
                      quantiles("ocho_retrieval_source_duration_seconds", by="source", of=(0.95,)), width=6),
                Panel("Outcomes per source", "ok, late, failed or cut off by its breaker.", "cps",
                      rates("ocho_retrieval_source_duration_seconds_count", "source, outcome"), "stacked", 6),
                Panel("Passages in the evidence", "p5 at 0: questions that no document answers.", "short",
                      quantiles("ocho_retrieval_passages", of=(0.05, 0.5, 0.95)), width=6),
                Panel("Follow-ups written out", "joined: what that found is in the evidence.", "cps",
                      events("ocho_rewrites_total", "result"), "stacked", 6),
            ),
        ),
        Row(
            "Facts",
            (
                Panel("Settled", "What the documents made of fresh answers before they were given.", "cps",
                      events("ocho_settled_total", "result"), "stacked", 12),
                Panel("Flips", "Fresh answers that contradicted the earlier one on unchanged documents, and which "
                      "was kept.", "cps", events("ocho_flips_total", "kept"), "stacked", 6),
                Panel("Provider epochs", "The provider changed its model: answers may change their facts.", "cps",
                      (Query(f"sum(rate(ocho_provider_epochs_total[{RATE}])) or vector(0)"),), width=6),
            ),
        ),
        Row(
            "Review",
            (
                Panel("Same facts again", "Answers that were made twice and agreed, last hour. Falls when the model "
                      "wavers.", "percentunit", (Query("ocho:facts_agreed:ratio_rate1h"),), "stat", 6),
                Panel("Waiting for review", "Found by the gateway, or its documents changed. People have to look.",
                      "short", (Query('max(ocho_answers{status="awaiting_review"}) + '
                                      'max(ocho_answers{status="needs_review"})'),), "stat", 6, marks=(1, 50)),
                Panel("Reviewed answers", "By status.", "short",
                      (Query("max by (status) (ocho_answers)", "{{status}}"),), "bars", 12),
                Panel("Reviewed answers given", "noted: its documents changed since; refused: in the place of a "
                      "rejected one.", "reqps", rates("ocho_answers_served_total", "status, how"), "stacked"),
                Panel("Disagreements found", "Put up for review: flips, wrong hits, contradictions, verification.",
                      "cps",
                      (Query(f"sum by (kind) (rate(ocho_review_findings_total[{RATE}])) or vector(0)", "{{kind}}"),),
                      "stacked"),
                Panel("Verified in the background", "Kept answers that were asked for again, by what came of it.",
                      "cps", events("ocho_verifications_total", "result"), "stacked"),
            ),
        ),
    ),
)  # fmt: skip

DASHBOARDS = (FIVE_SECONDS, CACHE_TRUTH, UPSTREAMS, DOCUMENTS)
