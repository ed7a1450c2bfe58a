"""``cache``: where answers are kept, and when one is given again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from gateway.settings.base import RedisUrl, Seconds, Section


class RedisSettings(Section):
    url: RedisUrl = SecretStr("")  # empty: none
    timeout_s: Seconds = 0.05
    cluster: bool = False


class JudgeSettings(Section):
    """A fast model that is asked in one token whether a near question is the same one."""

    model: str = "auto"  # auto: the draft model of the model that was asked; off; or a model with deployments here
    min_margin: float = Field(2.0, ge=0, le=30)  # log p(Yes) - log p(No), in nats
    max_extra_spend: float = Field(0.2, ge=0, le=1)  # as a share of what all answers would cost
    patience_s: Seconds = 1.5


class OnnxSettings(Section):
    """A sentence-embedding model in ONNX format, as exported from Hugging Face: model.onnx beside tokenizer.json."""

    folder: str = ""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"  # auto: as 1_Pooling/config.json has it, else mean
    query_prefix: str | None = None  # None: as config_sentence_transformers.json has it, else none
    passage_prefix: str | None = None
    max_tokens: int = Field(512, ge=8, le=32_768)


class SemanticSettings(Section):
    enabled: bool = True
    embedder: str = "auto"  # auto | local | onnx | off | the name of a model in this file that serves /embeddings
    onnx: OnnxSettings = OnnxSettings()  # for embedder: onnx
    embedder_threads: int = Field(0, ge=0, le=64)  # of the local embedder; 0: half the cores, two at most
    english_model: bool = True  # with the local embedder: English questions are compared by a model of their own
    dimensions: int = Field(1536, ge=8, le=8192)  # of the vectors of a named embedding model
    share: Literal["key", "tenant", "all"] = "tenant"
    max_wrong: float = Field(0.01, gt=0, le=0.2)  # share of semantic hits that may be wrong
    answer_noise: float = Field(0.0025, ge=0, le=0.2)  # share of answers that contradict one to the very same question
    calibration: str = ""  # file of `ocho cache calibrate`; empty: the one that comes with the local embedder
    judge: JudgeSettings = JudgeSettings()


class CacheSettings(Section):
    store: Literal["auto", "memory", "redis"] = "auto"  # auto: redis when a URL is known
    redis: RedisSettings = RedisSettings()
    ttl_s: Seconds = 86400.0
    max_mb: float = Field(256.0, gt=0)  # of the in-process store
    tenant_mb: float = Field(0.0, ge=0)  # of it at most for one tenant; 0: no limit while there is room
    disk_mb: float = Field(64.0, ge=0)  # of answers remembered in data_dir beyond the cache; 0: none
    semantic: SemanticSettings = SemanticSettings()
    coalesce: bool = True
    secret: SecretStr = SecretStr("")  # keys and signs what is kept; needed by several gateways on one Redis
