"""How slow and how unreliable a provider is: four calibrated profiles, and drawing one call's fate from them.

Model (research of 2026-11 on public measurements of 2023 to 2025):
``TTFT = LogN(ln median, sigma) + slope * prompt_tokens * LogN(0, .2) + [stall] LogN(ln stall_median, stall_sigma)``;
time per token of one request ``LogN(ln token_median, .30)``, times ``slow_factor`` for a few; gaps between tokens
``Gamma(shape)`` with that mean, so N tokens take ``Gamma(shape * N)``. 429, 5xx and hanging calls are drawn apart.
Medians are tied to measurements; stall, slow and failure probabilities are judgement (tails exist, how
often is unknown).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import MappingProxyType

RATE_LIMITED_AFTER_S = 0.1
SERVER_ERROR_AFTER_S = 0.5
SLOPE_SIGMA = 0.2
# 300 ms for a remote embedding call: median of the 2023 stage table; its mean of 340 ms gives the sigma.
EMBEDDING_MEDIAN_S, EMBEDDING_SIGMA = 0.30, 0.50


class Failure(StrEnum):
    NONE = "none"
    RATE_LIMITED = "rate_limited"  # 429 with Retry-After
    SERVER_ERROR = "server_error"  # 500 or 503
    HANG = "hang"  # accepts the request and never answers


@dataclass(frozen=True, slots=True)
class LatencyProfile:
    """Times in seconds, rates as probabilities per call, lengths in tokens."""

    name: str
    ttft_median_s: float
    ttft_sigma: float
    prompt_slope_s: float  # per prompt token
    stall_rate: float
    stall_median_s: float
    stall_sigma: float
    token_median_s: float
    token_sigma: float
    gap_shape: float
    slow_rate: float
    slow_factor: float
    rate_limited_rate: float
    retry_after_s: tuple[float, float]
    server_error_rate: float
    hang_rate: float
    answer_tokens: float  # median length of an answer nobody asked to be short
    context_tokens: int
    answer_sigma: float = 0.35


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls one call, in unscaled seconds."""

    failure: Failure
    retry_after_s: float  # of RATE_LIMITED
    ttft_s: float  # request read → first token (or the error)
    token_s: float  # mean gap between tokens of this call
    gap_shape: float

    def gaps_s(self, rng: Random, tokens: int) -> list[float]:
        """The gap after each of ``tokens`` tokens."""
        if self.token_s == 0:
            return [0.0] * tokens
        scale = self.token_s / self.gap_shape
        return [rng.gammavariate(self.gap_shape, scale) for _ in range(tokens)]

    def decode_s(self, rng: Random, tokens: int) -> float:
        """Time of all ``tokens`` tokens; the sum of ``gaps_s`` in distribution, in one draw."""
        if self.token_s == 0 or tokens == 0:
            return 0.0
        return rng.gammavariate(self.gap_shape * tokens, self.token_s / self.gap_shape)


def draw_fate(profile: LatencyProfile, rng: Random, prompt_tokens: int, *, failures: bool) -> Fate:
    """Always consumes the same draws, so switching failures off leaves the other calls as they were."""
    dice, retry_after = rng.random(), rng.uniform(*profile.retry_after_s)
    ttft = profile.ttft_median_s * _lognormal(rng, profile.ttft_sigma)
    ttft += profile.prompt_slope_s * prompt_tokens * _lognormal(rng, SLOPE_SIGMA)
    stalled, stall = rng.random() < profile.stall_rate, profile.stall_median_s * _lognormal(rng, profile.stall_sigma)
    token = profile.token_median_s * _lognormal(rng, profile.token_sigma)
    slow = rng.random() < profile.slow_rate
    failure = _failure(profile, dice) if failures else Failure.NONE
    early = {Failure.RATE_LIMITED: RATE_LIMITED_AFTER_S, Failure.SERVER_ERROR: SERVER_ERROR_AFTER_S}.get(failure)
    return Fate(
        failure=failure,
        retry_after_s=retry_after,
        ttft_s=early if early is not None else ttft + (stall if stalled else 0.0),
        token_s=token * (profile.slow_factor if slow else 1.0),
        gap_shape=profile.gap_shape,
    )


def draw_answer_tokens(profile: LatencyProfile, rng: Random) -> int:
    """Length of an answer when the caller sets no limit, in tokens."""
    return max(1, round(profile.answer_tokens * _lognormal(rng, profile.answer_sigma)))


def draw_embedding_s(profile: LatencyProfile, rng: Random) -> float:
    return 0.0 if profile.name == "instant" else EMBEDDING_MEDIAN_S * _lognormal(rng, EMBEDDING_SIGMA)


def _failure(profile: LatencyProfile, dice: float) -> Failure:
    for failure, rate in (
        (Failure.RATE_LIMITED, profile.rate_limited_rate),
        (Failure.SERVER_ERROR, profile.server_error_rate),
        (Failure.HANG, profile.hang_rate),
    ):
        if dice < rate:
            return failure
        dice -= rate
    return Failure.NONE


def _lognormal(rng: Random, sigma: float) -> float:
    """A factor with median 1."""
    return math.exp(sigma * rng.gauss(0.0, 1.0))


_ALL = (
    LatencyProfile(
        name="azure-gpt4-2023",
        ttft_median_s=0.90,
        ttft_sigma=0.50,
        prompt_slope_s=0.25e-3,
        stall_rate=0.03,
        stall_median_s=6.0,
        stall_sigma=0.9,
        token_median_s=0.055,
        token_sigma=0.30,
        gap_shape=1.5,
        slow_rate=0.02,
        slow_factor=4.0,
        rate_limited_rate=0.015,
        retry_after_s=(1.0, 20.0),
        server_error_rate=0.003,
        hang_rate=0.002,
        answer_tokens=450,
        context_tokens=32_768,
    ),
    LatencyProfile(
        name="gpt35-2023",
        ttft_median_s=0.45,
        ttft_sigma=0.50,
        prompt_slope_s=0.06e-3,
        stall_rate=0.03,
        stall_median_s=5.0,
        stall_sigma=0.9,
        token_median_s=0.028,
        token_sigma=0.30,
        gap_shape=1.5,
        slow_rate=0.02,
        slow_factor=3.0,
        rate_limited_rate=0.01,
        retry_after_s=(1.0, 20.0),
        server_error_rate=0.003,
        hang_rate=0.002,
        answer_tokens=150,
        context_tokens=16_385,
    ),
    LatencyProfile(
        name="gpt4o-2024",
        ttft_median_s=0.50,
        ttft_sigma=0.45,
        prompt_slope_s=0.08e-3,
        stall_rate=0.015,
        stall_median_s=3.0,
        stall_sigma=0.8,
        token_median_s=0.0155,
        token_sigma=0.30,
        gap_shape=1.2,
        slow_rate=0.02,
        slow_factor=3.0,
        rate_limited_rate=0.01,
        retry_after_s=(1.0, 10.0),
        server_error_rate=0.002,
        hang_rate=0.001,
        answer_tokens=450,
        context_tokens=128_000,
    ),
    LatencyProfile(
        name="mini-2025",
        ttft_median_s=0.60,
        ttft_sigma=0.30,
        prompt_slope_s=0.04e-3,
        stall_rate=0.01,
        stall_median_s=2.5,
        stall_sigma=0.8,
        token_median_s=0.012,
        token_sigma=0.30,
        gap_shape=1.2,
        slow_rate=0.02,
        slow_factor=2.5,
        rate_limited_rate=0.005,
        retry_after_s=(1.0, 5.0),
        server_error_rate=0.001,
        hang_rate=0.001,
        answer_tokens=150,
        context_tokens=128_000,
    ),
    LatencyProfile(  # answers at once: for tests, and for the cost of the gateway itself
        name="instant",
        ttft_median_s=0.0,
        ttft_sigma=0.0,
        prompt_slope_s=0.0,
        stall_rate=0.0,
        stall_median_s=0.0,
        stall_sigma=0.0,
        token_median_s=0.0,
        token_sigma=0.0,
        gap_shape=1.0,
        slow_rate=0.0,
        slow_factor=1.0,
        rate_limited_rate=0.0,
        retry_after_s=(0.0, 0.0),
        server_error_rate=0.0,
        hang_rate=0.0,
        answer_tokens=40,
        context_tokens=128_000,
    ),
)
PROFILES: Mapping[str, LatencyProfile] = MappingProxyType({profile.name: profile for profile in _ALL})
