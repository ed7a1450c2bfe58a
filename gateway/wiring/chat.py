"""How questions to each model are answered."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.accounts.accounts import Accounts
from gateway.answers.book import Book
from gateway.cache.admission import Limits
from gateway.cache.calibrated import BadCalibration
from gateway.cache.canonical import Epochs
from gateway.cache.exact import ExactCache
from gateway.cache.inflight import Inflight
from gateway.cache.keys import Sharing
from gateway.cache.semantic import SemanticCache
from gateway.cache.writer import CacheWriter
from gateway.clock import WallClock
from gateway.finding import Finder
from gateway.in_time import Background, DraftPlan, InTime, Promise
from gateway.making import Maker
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.plan import Plan
from gateway.ports import DocumentRecord, Embedder, Source
from gateway.refusals import Refusals
from gateway.retrieval.gather import Gatherer, Rerank
from gateway.retrieval.grounding import PROMPT_VERSION
from gateway.routing.draft import Drafter
from gateway.routing.gate import Calibrations, read_calibrations
from gateway.routing.judge import Bar, ModelJudge
from gateway.routing.rewriting import Rewriter
from gateway.routing.router import Router
from gateway.routing.spend import Allowance
from gateway.routing.weighing import Scales
from gateway.settings import Settings
from gateway.settings.models import ModelSettings
from gateway.settling import AT_ONCE, Settler, Settling
from gateway.stages import Stages
from gateway.wiring.answers import opened_answers, opened_findings, opened_verifier
from gateway.wiring.cache import Stores, chosen_rule, remembered
from gateway.wiring.documents import freshness, opened_record, opened_rerankers, opened_sources
from gateway.wiring.embedding import chosen_embedder, wordings_embedder
from gateway.wiring.uploads import opened_shelves


def promise_of(model: ModelSettings) -> Promise | None:
    """The promise of a model; a draft that is off is none."""
    if model.promise is None:
        return None
    draft = model.draft
    return Promise(
        seconds=model.promise.seconds,
        on_expiry=model.promise.on_expiry,
        draft=DraftPlan(
            draft.model,
            draft.mode,
            draft.max_tokens,
            Allowance(draft.max_extra_spend, ready=draft.max_extra_spend > 0),
            details=draft.details,
            answerability=draft.answerability,
        )
        if draft is not None and draft.mode != "off"
        else None,
        sized=model.sized,
        late=Allowance(model.promise.max_late_spend),
    )


def calibrations_of(settings: Settings) -> dict[str, Calibrations]:
    """Of the draft models that have one of their own. Raises BadCalibration."""
    found = {}
    for model in settings.models:
        if model.draft is None or not (path := model.draft.calibration):
            continue
        try:
            found[model.draft.model] = read_calibrations(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise BadCalibration(f"draft.calibration of model {model.name}: {path} cannot be used: {error}") from error
    return found


async def opened_pipeline(
    settings: Settings,
    router: Router,
    metrics: Metrics,
    accounts: Accounts,
    stack: AsyncExitStack,
    secret: bytes,
    stores: Stores,
    book: Book,
    wall_clock: WallClock = time.time,
) -> Pipeline:
    embedder = chosen_embedder(settings, router)
    wordings = wordings_embedder(settings, embedder)
    record = opened_record(settings)
    if record is not None:
        stack.callback(record.close)
    state = freshness(settings, record)
    store, index = stores.answers, stores.questions
    rule = chosen_rule(settings, wordings, metrics)
    remembering = await remembered(rule, stores, secret, stack)
    reviewed = await opened_answers(settings, book, state, wordings, rule, metrics, stack)
    findings = opened_findings(settings, book, reviewed, metrics, stack)
    writer = CacheWriter(
        store, index, rule=rule, record=state, review=findings, on_outcome=metrics.cache_written,
        on_compared=partial(metrics.facts_compared, "repeat"), wall_clock=wall_clock,
    )  # fmt: skip
    stack.push_async_callback(writer.close)
    background = Background()
    stack.push_async_callback(background.close)
    inflight = Inflight()
    stack.push_async_callback(inflight.close)
    sources = await opened_sources(settings, record, embedder.model if embedder is not None else None, stack)
    rerankers = await opened_rerankers(settings, stack)
    shelves = opened_shelves(settings, record, sources, embedder, metrics, stack)
    semantic = SemanticCache(
        store, index, rule=rule, record=state, recall=remembering.recall if remembering is not None else None,
        on_reject=metrics.cache_rejected, wall_clock=wall_clock,
    )  # fmt: skip
    exact = ExactCache(store, wall_clock=wall_clock)
    scales = Scales()
    maker = Maker(
        router=router,
        in_time=InTime(
            router, Drafter(router, metrics, scales, calibrations_of(settings)), metrics, background, scales
        ),
        settler=Settler(metrics),
        scales=scales,
        exact=exact,
        writer=writer,
        record=state,
        epochs=Epochs(metrics.provider_epoch),
        metrics=metrics,
        review=findings,
    )
    finder = Finder(embedder, wordings, Stages(metrics), metrics)
    by_meaning = semantic if wordings is not None else None
    return Pipeline(
        plans={
            m.name: plan_of(m, settings, wordings, state, sources, metrics, router, rerankers.get(m.name))
            for m in settings.models
        },
        secret=secret,
        record=state,
        exact=exact,
        semantic=by_meaning,
        inflight=inflight,
        coalesce=settings.cache.coalesce,
        finder=finder,
        maker=maker,
        writer=writer,
        stages=Stages(metrics),
        metrics=metrics,
        accounts=accounts,
        refusals=Refusals(by_meaning, finder, Stages(metrics), writer, maker.cost),
        reviewed=reviewed,
        verifier=opened_verifier(settings, router, findings, metrics, stack),
        shelves=shelves,
        wall_clock=wall_clock,
    )


def settling_of(model: ModelSettings) -> Settling | None:
    """How answers are settled; where a time is promised, holding back new ones would break that promise."""
    settle = model.settle
    if settle.mode == "off":
        return None
    fresh = settle.mode == "on" or model.promise is None
    return Settling(
        settle.witnesses,
        Allowance(settle.max_extra_spend, AT_ONCE if settle.max_extra_spend else 0.0, ready=True),
        fresh,
    )


def plan_of(
    model: ModelSettings,
    settings: Settings,
    embedder: Embedder | None,
    record: DocumentRecord | None,
    sources: Mapping[str, Source],
    metrics: Metrics,
    router: Router,
    rerank: Rerank | None = None,
) -> Plan:
    documents = model.documents
    gatherer = None
    if documents is not None and record is not None:
        gatherer = Gatherer(
            {name: sources[name] for name in documents.collections},
            record,
            soft_s=documents.soft_s,
            hard_s=documents.hard_s,
            top_k=documents.top_k,
            token_budget=documents.max_tokens,
            on_source=metrics.source_ended,
            rerank=rerank,
        )
    collections = documents.collections if documents is not None else ()
    answering = settings.answering(model)
    judge = judge_of(model, settings, router, metrics) if embedder is not None else None
    prompt = f"{PROMPT_VERSION}:{hashlib.sha256((documents.system or '').encode()).hexdigest()}" if documents else ""
    return Plan(
        model=model.name,
        answers_with=model.answers_with or "",
        caches=model.caches,
        sharing=Sharing(
            answers_with=",".join(f"{d.kind}:{d.model or d.deployment}" for d in answering.deployments),
            share=settings.cache.semantic.share,
            key_id="",
            groups=frozenset(),
            collections=collections,
            embedder=embedder.model if embedder is not None else "",
            prompt_version=prompt,
            namespace="",
        ),
        limits=Limits(settings.cache.ttl_s, personal_ok=settings.cache.semantic.share == "key"),
        collections=collections,
        gatherer=gatherer,
        system=documents.system if documents is not None else None,
        notice=notice_of(model),
        rewriter=rewriter_of(model, router),
        judge=judge,
        second_judge=replace(judge, model=answering.name, bar=Bar(judge.bar.least)) if judge is not None else None,
        settling=settling_of(model) if gatherer is not None else None,
        promise=promise_of(model),
    )


def notice_of(model: ModelSettings) -> dict[str, str]:
    """What the gateway says itself where nothing is found, by the language of the question."""
    if model.documents is None or model.documents.no_answer.by == "model":
        return {}
    return {"ko": model.documents.no_answer.ko, "latin": model.documents.no_answer.en}


def rewriter_of(model: ModelSettings, router: Router) -> Rewriter | None:
    """What writes out the follow-ups to a model with documents."""
    if model.documents is None:
        return None
    rewrite = model.documents.rewrite
    name = rewrite.model
    if name == "auto":
        name = model.draft.model if model.draft is not None else "off"
    if name == "off":
        return None
    allowance = Allowance(rewrite.max_extra_spend, ready=rewrite.max_extra_spend > 0)
    return Rewriter(router, name, allowance, rewrite.patience_s)


def judge_of(model: ModelSettings, settings: Settings, router: Router, metrics: Metrics) -> ModelJudge | None:
    """The judge of questions to a model: by default its draft model, where it answers from documents."""
    judge = settings.cache.semantic.judge
    name = judge.model
    if name == "auto":
        name = model.draft.model if model.draft is not None and model.documents is not None else "off"
    if name == "off" or not model.caches:
        return None
    return ModelJudge(
        router, metrics, name, Allowance(judge.max_extra_spend, ready=True), Bar(judge.min_margin), judge.patience_s
    )
