"""What can be set: the faults of answers, and the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bench.provider.profiles import PROFILES, LatencyProfile
from bench.provider.truths import Truths


@dataclass(frozen=True, slots=True)
class Faults:
    """How human the answers are. Rates are probabilities per answer and exclude each other."""

    wrong_fact_rate: float = 0.0
    wrong_passage_rate: float = 0.0
    refusal_rate: float = 0.0
    unsupported_rate: float = 0.0
    phrasings: bool = True  # wording differs between asks of the same question
    misreads: float = 0.0  # of questions whose answer it was told: another statement is taken
    honesty: float = 1.0  # of those that nothing answers: it says so
    cites: bool = True  # False: writes no ``[docN]``, as small real models do

    def __post_init__(self) -> None:
        rates = (self.wrong_fact_rate, self.wrong_passage_rate, self.refusal_rate, self.unsupported_rate)
        if min(rates) < 0 or sum(rates) > 1:
            raise ValueError(f"fault rates must be at least 0 and sum to at most 1, got {rates}")
        if not (0 <= self.misreads <= 1 and 0 <= self.honesty <= 1):
            raise ValueError(f"misreads and honesty must be from 0 to 1, got {self.misreads} and {self.honesty}")


FAULTLESS = Faults(phrasings=False)
# Chosen, not measured. The small models' total of 24 % wrong compares with 25 % wrong Korean answers of a real 0.5B
# model, the big ones' 5.5 % with 5 % of a real 1.5B model (research of 2026-11, 40 questions over 10 passages); what
# they misread where they were told the answer comes on top. Of 12 questions that nothing answers, the 1.5B model said
# so for 7, the 0.5B model for none; gpt-3.5 is reported to do so for a quarter to a half.
CAREFUL = Faults(0.02, 0.01, 0.005, 0.02, misreads=0.01, honesty=0.6)
CARELESS = Faults(0.15, 0.03, 0.01, 0.05, misreads=0.05, honesty=0.3)

PROFILE_FAULTS: Mapping[str, Faults] = MappingProxyType(
    {
        "azure-gpt4-2023": CAREFUL,
        "gpt4o-2024": CAREFUL,
        "gpt35-2023": CARELESS,
        "mini-2025": CARELESS,
        "instant": FAULTLESS,
    }
)


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One server. Times of the profiles are multiplied by ``time_scale``."""

    profile: str | None = (
        None  # answers model names that ``models`` lacks; None: they are a 404 (if ``models`` is given)
    )
    models: Mapping[str, str] = field(default_factory=dict)  # model name → profile name; empty: one model per profile
    seed: int = 0
    time_scale: float = 1.0  # 0.1 = ten times faster; 0 = no delays
    failures: bool = False  # 429, 5xx and hanging calls at the profile's rates
    faults: Faults | None = None  # for every model; None: the defaults of each profile
    truths: Truths | None = None  # what it knows as a judge of questions, as a rewriter and as a reader
    slots: int | None = None  # chat calls a model works on at once, more wait in line; None: no limit
    api_key: str | None = None  # None: any key, or none, is accepted
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    calls_kept: int = 10_000  # the latest calls, with their bodies

    def __post_init__(self) -> None:
        for name in {*self.models.values(), *([self.profile] if self.profile else [])}:
            if name not in PROFILES:
                raise ValueError(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
        if self.slots is not None and self.slots < 1:
            raise ValueError(f"slots must be 1 or more, got {self.slots}")
        if self.time_scale < 0:
            raise ValueError(f"time_scale must be 0 or more, got {self.time_scale}")

    def listed_models(self) -> Mapping[str, str]:
        """Model name → profile name, as `/v1/models` lists them."""
        return self.models or {name: name for name in PROFILES}

    def profile_of(self, model: str) -> LatencyProfile | None:
        """The profile that answers for ``model``; None: no such model here."""
        fallback = self.profile or (None if self.models else "azure-gpt4-2023")
        name = self.listed_models().get(model, fallback)
        return PROFILES[name] if name else None

    def faults_of(self, profile: LatencyProfile) -> Faults:
        return self.faults if self.faults is not None else PROFILE_FAULTS[profile.name]
