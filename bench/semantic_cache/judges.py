"""Judges of what the rule cannot tell: one that knows the labels, and a real model asked as serving asks it."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.chat import Answer, ChatRequest, Opened, RequestContext, Send
from gateway.metrics import Metrics
from gateway.ports import Doubt, Ruling
from gateway.routing.deployments import Deployments
from gateway.routing.judge import Bar, ModelJudge
from gateway.routing.router import Router
from gateway.routing.spend import Allowance, Errand
from gateway.settings import Settings
from gateway.wiring.upstreams import deployments_of, opened_upstream, routes_of

PATIENCE_S = 120.0  # what a model on a busy CPU takes says nothing about its verdict


class TruthJudge:
    """A judge that knows the groups; a share of its verdicts (``noise``) is the opposite."""

    def __init__(self, noise: float, chance: random.Random) -> None:
        self.meanings: dict[str, str] = {}
        self.asked = 0
        self._noise = noise
        self._chance = chance

    plenty = True

    def earn(self, cost: float) -> None:
        """It costs nothing."""

    def learn(self, margin: float, right: bool) -> None:
        """It learns nothing."""

    async def rule(self, doubt: Doubt, ctx: RequestContext) -> Ruling:
        self.asked += 1
        same = self.meanings[doubt.asked] == self.meanings[doubt.kept]
        return Ruling(same != (self._chance.random() < self._noise), 1.0)


class RealJudge:
    """The judge that serves, with a model behind it. It is told no kept answer: those of the bench are made up, and say
    nothing of what was asked."""

    def __init__(self, judge: ModelJudge) -> None:
        self._judge = judge
        self.asked = 0

    plenty = True

    def earn(self, cost: float) -> None:
        """The bench has no spend limit."""

    def learn(self, margin: float, right: bool) -> None:
        self._judge.learn(margin, right)

    async def rule(self, doubt: Doubt, ctx: RequestContext) -> Ruling:
        """Raises RuntimeError where no verdict is given: counted as a no, it would look like caution."""
        self.asked += 1
        ruling = await self._judge.rule(replace(doubt, answer=""), ctx)
        if ruling.margin is None:
            raise RuntimeError("the judge's server gave no verdict: it has to be up, and to give log-probabilities")
        return ruling


class Remembering(Router):
    """Keeps what the model said to a prompt in a file: asked again, also by another run, it says the same."""

    kept: dict[str, Any]
    file: Path | None

    def remember_in(self, file: Path | None) -> None:
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.is_file() else []
        self.file, self.kept = file, dict(map(json.loads, lines))

    async def stream(
        self, request: ChatRequest, ctx: RequestContext, opened: Opened, send: Send, errand: Errand | None = None
    ) -> Answer:
        asked = hashlib.sha256(json.dumps(request.body, sort_keys=True).encode()).hexdigest()[:24]
        if asked not in self.kept:
            answer = await super().stream(request, ctx, opened, send, errand)
            self.kept[asked] = answer.choices
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([asked, answer.choices], ensure_ascii=False) + "\n")
        return Answer(tuple(self.kept[asked]), request.requested_model)


@asynccontextmanager
async def real_judge(url: str, model: str, min_margin: float, file: Path | None) -> AsyncIterator[RealJudge]:
    """``url``: of an OpenAI-compatible server with log-probabilities. ``file``: keeps its verdicts between runs."""
    timeouts = {"first_token_s": PATIENCE_S, "total_s": PATIENCE_S}
    deployment = {"name": "judge", "base_url": url, "model": model, "api_key": "bench"}
    settings = Settings.model_validate({"models": [{"name": model, "deployments": [deployment], "timeouts": timeouts}]})
    allowance = Allowance(1.0, burst=math.inf, ready=True)
    allowance.earn(1.0)
    async with opened_upstream() as upstream:
        metrics = Metrics()
        router = Remembering(
            routes_of(settings), Deployments(deployments_of(settings), time.monotonic), upstream, metrics
        )
        router.remember_in(file)
        yield RealJudge(ModelJudge(router, metrics, model, allowance, Bar(min_margin), PATIENCE_S))
