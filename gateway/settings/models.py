"""``models``: what callers ask for, and how it is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.settings.base import HttpUrl, Name, Seconds, Section

Url = Annotated[HttpUrl, AfterValidator(lambda url: url.rstrip("/"))]


class TimeoutSettings(Section):
    connect_s: Seconds = 5.0
    first_token_s: Seconds = 60.0
    idle_s: Seconds = 60.0
    total_s: Seconds = 600.0


class DeploymentSettings(Section):
    name: Name
    kind: Literal["openai", "azure"] = "openai"
    base_url: Url
    api_key: SecretStr = SecretStr("")
    model: str = ""  # name at an OpenAI-compatible server, if it differs
    deployment: str = ""  # name at Azure, if it differs
    api_version: str = ""  # Azure; without it the v1 surface is used
    stream_usage: bool = True

    @model_validator(mode="after")
    def _is_named_as_its_kind_has_it(self) -> DeploymentSettings:
        if self.kind == "azure" and self.model:
            raise ValueError(f"kind azure: write deployment: {self.model}, for Azure knows models by their deployments")
        if self.kind != "azure" and (self.deployment or self.api_version):
            raise ValueError("deployment and api_version are for kind: azure; elsewhere a model has its name in model")
        return self


class RewriteSettings(Section):
    """A fast model writes out what a follow-up means; where that finds better, it joins what its own words find."""

    model: str = "auto"  # auto: the draft model, if there is one; off; or a model with deployments here
    patience_s: Seconds = 1.0  # for the rewriting and its search; of a promised time a fifth of what is left at most
    max_extra_spend: float = Field(0.1, ge=0, le=1)  # as a share of what all answers would cost


class NoAnswerSettings(Section):
    """What is said where the search finds nothing at all."""

    by: Literal["model", "own"] = "model"  # own: the sentence below, without asking the model
    ko: str = Field("문서에서 이 질문에 대한 내용을 찾지 못했습니다.", min_length=1)
    en: str = Field("The documents do not contain anything on this question.", min_length=1)


class RerankSettings(Section):
    """A service that puts what was found in order, within ``hard_s``."""

    url: Url
    kind: Literal["cohere", "tei"] = "cohere"  # the shape of the call
    model: str = ""
    api_key: SecretStr = SecretStr("")  # sent as a bearer token
    headers: dict[str, SecretStr] = Field(default_factory=dict)


class DocumentsOfModel(Section):
    collections: tuple[Name, ...] = Field(min_length=1)
    top_k: int = Field(6, ge=1, le=50)
    soft_s: Seconds = 0.15
    hard_s: Seconds = 0.6
    max_tokens: int = Field(3000, ge=100)  # of evidence in the prompt
    system: str | None = None  # replaces the built-in instructions
    rewrite: RewriteSettings = RewriteSettings()
    rerank: RerankSettings | None = None
    no_answer: NoAnswerSettings = NoAnswerSettings()


class DeadlineSettings(Section):
    """The promise: when a caller has an answer, and what is given when the model is not ready by then."""

    seconds: Seconds = 5.0
    on_expiry: tuple[Literal["draft", "stale", "quote", "wait"], ...] = ("draft", "stale", "quote", "wait")
    max_late_spend: float = Field(0.5, ge=0, le=1)  # answers finished for the cache only, as a share of what all cost


class DraftSettings(Section):
    """A fast model's short answer, given where it passes the confidence gate."""

    model: Name
    mode: Literal["off", "cascade", "armed", "race", "auto"] = "auto"
    max_tokens: int = Field(160, ge=16, le=4096)
    details: bool = False  # the model appends a section to an accepted draft; it costs a call of it
    answerability: bool = True  # asked beside its drafts, in one token, whether the likeliest passages answer
    calibration: str = ""  # file of `ocho gate calibrate`; "": the shipped one
    max_extra_spend: float = Field(0.15, ge=0, le=1)  # big answers begun in vain, as a share of what all would cost


class SettleSettings(Section):
    """The first paragraph of an answer from documents is looked at before it is given."""

    # auto: where a time is promised, only what was answered before: a new answer streams as it comes
    mode: Literal["auto", "on", "off"] = "auto"
    witnesses: int = Field(0, ge=0, le=2)  # further samples beside the first, where nothing was answered before
    max_extra_spend: float = Field(0.15, ge=0, le=3)  # samples beyond the first, as a share of what all answers cost


class HedgeSettings(Section):
    """A second deployment beside one that is late with its first token. Needs two deployments."""

    after: Literal["p90", "p95", "p99"] = "p95"  # of the deployment's recent first-token times
    min_s: Seconds = 0.3
    max_extra_tokens: float = Field(0.05, ge=0, le=1)


class PriceSettings(Section):
    """Money per million tokens, in any one currency."""

    input: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)


OF_ITS_DEPLOYMENTS = frozenset({"fallbacks", "timeouts", "retries", "price", "hedge"})


class ModelSettings(Section):
    name: Name  # what callers ask for; "*" answers to every name
    deployments: tuple[DeploymentSettings, ...] = ()
    answers_with: str | None = None  # another model that does the answering
    fallbacks: tuple[str, ...] = ()
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: int = Field(2, ge=0, le=10)
    documents: DocumentsOfModel | None = None
    deadline: DeadlineSettings | None = None  # default: none, or 5 s for models with a draft or sized answers
    draft: DraftSettings | None = None
    settle: SettleSettings = SettleSettings()
    sized: bool = False  # ask for what fits in the time left
    price: PriceSettings | None = None
    hedge: HedgeSettings | None = None
    cache: bool | None = None  # default: on for models with documents, else off unless a request asks for it

    @model_validator(mode="after")
    def _has_somewhere_to_go(self) -> ModelSettings:
        if bool(self.deployments) == bool(self.answers_with):
            raise ValueError("give either deployments or answers_with")
        if self.answers_with and (of_the_other := sorted(OF_ITS_DEPLOYMENTS & self.model_fields_set)):
            raise ValueError(f"{', '.join(of_the_other)}: to be written at {self.answers_with!r}, which answers")
        if self.draft is not None and self.documents is None:
            raise ValueError("draft needs documents: a short answer is checked against the passages it rests on")
        return self

    @property
    def promise(self) -> DeadlineSettings | None:
        if self.deadline is None and (self.sized or (self.draft is not None and self.draft.mode != "off")):
            return DeadlineSettings()
        return self.deadline

    @property
    def caches(self) -> bool:
        return self.documents is not None if self.cache is None else self.cache
