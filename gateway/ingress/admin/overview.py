"""``/admin/overview``: what the console shows first, read from the metrics of all workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.ingress.admin.door import given
from gateway.metrics import Metrics

HITS = ("exact", "semantic", "coalesced")


@dataclass(frozen=True, slots=True)
class OverviewPage:
    metrics: Metrics
    models: Sequence[str]  # that callers may name

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/admin/overview", self.overview)]

    async def overview(self, http_request: web.Request) -> web.Response:
        given(http_request)
        return web.Response(
            body=orjson.dumps({**seen_in(self.metrics.exposition().decode()), "models": list(self.models)}),
            content_type="application/json",
        )


def seen_in(exposition: str) -> dict[str, Any]:
    """Shares and counts since the start; None where nothing happened yet that a share could be of."""
    samples = [s for family in text_string_to_metric_families(exposition) for s in family.samples]
    promise = _by(samples, "ocho_slo_requests_total", "result")
    cache = _by(samples, "ocho_request_duration_seconds_count", "cache")
    looked = sum(cache.values()) - cache["bypass"]
    audited = _by(samples, "ocho_cache_audited_hits", "result")
    compared = _by(samples, "ocho_facts_compared_total", "result")
    return {
        "requests": sum(promise.values()),
        "within_5s": _share(promise["good"], sum(promise.values())),
        "hit_share": _share(sum(cache[tier] for tier in HITS), looked),
        "cache": cache,
        "served_by": _by(samples, "ocho_request_duration_seconds_count", "served_by"),
        "wrong_hits": {
            "upper95": max((s.value for s in samples if s.name == "ocho_cache_wrong_hit_upper95"), default=1.0),
            "audited": sum(audited.values()),
            "contradicted": audited["contradicted"],
        },
        "reviewed_served": sum(_by(samples, "ocho_answers_served_total", "how").values()),
        "agreement": {
            "share": _share(compared["agreed"], sum(compared.values())),
            "compared": sum(compared.values()),
        },
        "findings": _by(samples, "ocho_review_findings_total", "kind"),
    }


def _by(samples: Sequence[Sample], name: str, label: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for sample in samples:
        if sample.name == name:
            counts[sample.labels[label]] += int(sample.value)
    return counts


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
