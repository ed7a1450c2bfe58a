"""The configuration: one frozen model per section of ``ocho.yaml``; every mistake is reported at once, with its line.

Secrets come from the environment (``${NAME}``, ``${NAME:-default}``) or from files (``${file:/run/secrets/name}``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator


class SettingsError(Exception):
    """The configuration cannot be used; ``str()`` lists every mistake and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Seconds = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class ServerSettings(Section):
    host: str | None = None  # default: 127.0.0.1 without API keys, 0.0.0.0 with them
    port: int = Field(8080, ge=0, le=65535)
    drain_s: float = Field(30.0, ge=0)
    max_body_mb: float = Field(10.0, gt=0)
    body_s: Seconds = 30.0  # for a request's body to arrive


class KeySettings(Section):
    key: SecretStr
    tenant: Name
    groups: tuple[str, ...] = ()  # document access groups

    @field_validator("key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < 8:
            raise ValueError("an API key needs at least 8 characters")
        return key


class AuthSettings(Section):
    keys: tuple[KeySettings, ...] = ()
    admin_key: SecretStr | None = None  # for /metrics and /admin when set


class TimeoutSettings(Section):
    connect_s: Seconds = 5.0
    first_token_s: Seconds = 60.0
    idle_s: Seconds = 60.0
    total_s: Seconds = 600.0


class DeploymentSettings(Section):
    name: Name
    kind: Literal["openai", "azure"] = "openai"
    base_url: str
    api_key: SecretStr = SecretStr("")
    model: str = ""  # name at an OpenAI-compatible server, if it differs
    deployment: str = ""  # name at Azure, if it differs
    api_version: str = ""  # Azure; without it the v1 surface is used
    stream_usage: bool = True

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if not re.match(r"https?://[^/\s]+", url):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/")


class DocumentsOfModel(Section):
    collections: tuple[Name, ...] = Field(min_length=1)
    top_k: int = Field(6, ge=1, le=50)
    soft_s: Seconds = 0.15
    hard_s: Seconds = 0.6
    max_tokens: int = Field(3000, ge=100)  # of evidence in the prompt
    system: str | None = None  # replaces the built-in instructions


class ModelSettings(Section):
    name: Name  # what callers ask for; "*" answers to every name
    deployments: tuple[DeploymentSettings, ...] = ()
    answers_with: str | None = None  # another model that does the answering
    fallbacks: tuple[str, ...] = ()
    timeouts: TimeoutSettings = TimeoutSettings()
    retries: int = Field(2, ge=0, le=10)
    documents: DocumentsOfModel | None = None
    cache: bool | None = None  # default: on for models with documents, else off unless a request asks for it

    @model_validator(mode="after")
    def _has_somewhere_to_go(self) -> ModelSettings:
        if bool(self.deployments) == bool(self.answers_with):
            raise ValueError("give either deployments or answers_with")
        return self

    @property
    def caches(self) -> bool:
        return self.documents is not None if self.cache is None else self.cache


class RedisSettings(Section):
    url: SecretStr = SecretStr("")
    timeout_s: Seconds = 0.05
    cluster: bool = False


class SemanticSettings(Section):
    enabled: bool = True
    embedder: str = "auto"  # auto | local | off | the name of a model in this file that serves /embeddings
    dimensions: int = Field(1536, ge=8, le=8192)  # of the vectors of a named embedding model
    share: Literal["key", "tenant", "all"] = "tenant"


class CacheSettings(Section):
    store: Literal["auto", "memory", "redis"] = "auto"  # auto: redis when a URL is known
    redis: RedisSettings = RedisSettings()
    ttl_s: Seconds = 86400.0
    max_mb: float = Field(256.0, gt=0)  # of the in-process store
    semantic: SemanticSettings = SemanticSettings()
    coalesce: bool = True
    secret: SecretStr = SecretStr("")  # keys and signs what is kept; needed by several gateways on one Redis


class CollectionSettings(Section):
    name: Name
    kind: Literal["embedded"] = "embedded"
    path: str | None = None  # folder to ingest at start, if any
    groups: tuple[str, ...] = ()  # who may read it; empty: everybody with a key


class TelemetrySettings(Section):
    server_timing: bool = True
    hit_details: bool = True  # similarity, entry and age headers; switch off for callers you do not trust
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"


class Settings(Section):
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    models: tuple[ModelSettings, ...] = ()
    cache: CacheSettings = CacheSettings()
    documents: tuple[CollectionSettings, ...] = ()
    data_dir: str = "ocho-data"
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _names_meet(self) -> Settings:
        problems: list[str] = []
        names = [m.name for m in self.models]
        deployments = [d.name for m in self.models for d in m.deployments]
        for what, given in (("model", names), ("deployment", deployments), ("collection", self.collections)):
            problems += [
                f"{what} {name!r} is named twice" for name in sorted(set(given)) if list(given).count(name) > 1
            ]
        with_deployments = {m.name for m in self.models if m.deployments}
        for model in self.models:
            for other in (*model.fallbacks, *((model.answers_with,) if model.answers_with else ())):
                if other not in with_deployments:
                    problems.append(f"model {model.name!r} refers to {other!r}, which is no model with deployments")
            for collection in model.documents.collections if model.documents else ():
                if collection not in self.collections:
                    problems.append(
                        f"model {model.name!r} uses collection {collection!r}, which is not under documents"
                    )
        if self.cache.store == "redis" and not self.cache.redis.url.get_secret_value():
            problems.append("cache.store is redis, but cache.redis.url is empty (set it, or REDIS_URL)")
        embedder = self.cache.semantic.embedder
        if embedder not in {"auto", "local", "off"} and embedder not in with_deployments:
            problems.append(f"cache.semantic.embedder {embedder!r} is neither auto, local, off nor a model here")
        keys = [k.key.get_secret_value() for k in self.auth.keys]
        if len(set(keys)) < len(keys):
            problems.append("auth.keys holds the same key twice")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.documents)

    @property
    def host(self) -> str:
        return self.server.host or ("0.0.0.0" if self.auth.keys else "127.0.0.1")

    def answering(self, model: ModelSettings) -> ModelSettings:
        """The model whose deployments answer for ``model``."""
        return next(m for m in self.models if m.name == (model.answers_with or model.name))


NO_PROVIDER = """no provider is configured. Do one of these:
  1. export OPENAI_API_KEY=…            (and OPENAI_BASE_URL for another OpenAI-compatible server)
  2. export AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com AZURE_OPENAI_API_KEY=… (and OPENAI_API_VERSION)
  3. write ocho.yaml (see examples/ocho.yaml) and start with: ocho serve --config ocho.yaml"""


def load(path: Path | None, environ: Mapping[str, str] = os.environ, *, needs_models: bool = True) -> Settings:
    """The settings in ``path``, or those the environment alone gives. Raises SettingsError."""
    if path is None:
        raw: dict[str, Any] = {}
        lines: dict[tuple[str | int, ...], int] = {}
    else:
        raw, lines = _read(path, environ)
    if not raw.get("models"):
        raw["models"] = _models_from_environment(environ)
    if not raw["models"] and needs_models:
        raise SettingsError(NO_PROVIDER)
    if environ.get("REDIS_URL"):
        cache = raw.setdefault("cache", {})
        if isinstance(cache, dict) and isinstance(cache.setdefault("redis", {}), dict):
            cache["redis"].setdefault("url", environ["REDIS_URL"])
    server = raw.setdefault("server", {})
    if isinstance(server, dict):
        for name in ("host", "port"):
            if value := environ.get(f"OCHO_{name.upper()}"):
                server[name] = value
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError("\n".join(_describe(path, lines, e) for e in error.errors())) from None


def _read(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[tuple[str | int, ...], int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise SettingsError(f"{path}: cannot be read ({cause.strerror})") from cause
    except UnicodeDecodeError as cause:
        raise SettingsError(f"{path}: is not UTF-8 text") from cause
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        raise SettingsError(f"{path}: is not YAML: {cause}") from cause
    if raw is None:
        return {}, {}
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: must hold sections such as models: and cache:, found {type(raw).__name__}")
    lines: dict[tuple[str | int, ...], int] = {}
    _locate(root, (), lines)
    missing: list[str] = []
    filled = _interpolate(raw, (), environ, lines, missing)
    if missing:
        raise SettingsError("\n".join(f"{path}: {m}" for m in missing))
    return filled, lines


def _locate(node: yaml.Node | None, where: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
    if node is None:
        return
    lines[where] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _locate(value, (*where, key.value), lines)
            lines[(*where, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _locate(value, (*where, index), lines)


_REFERENCE = re.compile(r"\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}")


def _interpolate(
    value: Any, where: tuple[str | int, ...], environ: Mapping[str, str], lines: Mapping[tuple[str | int, ...], int],
    missing: list[str],
) -> Any:  # fmt: skip
    if isinstance(value, dict):
        return {k: _interpolate(v, (*where, k), environ, lines, missing) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, (*where, i), environ, lines, missing) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        line = lines.get(where, 0)
        if match["file"]:
            try:
                return Path(match["file"]).read_text(encoding="utf-8").strip()
            except OSError as cause:
                missing.append(f"line {line}: the file {match['file']} cannot be read ({cause.strerror})")
                return ""
        found = environ.get(match["name"])
        if not found and match["default"] is None:
            missing.append(f"line {line}: the environment variable {match['name']} is not set; "
                           f"export it or write ${{{match['name']}:-default}}")  # fmt: skip
        return found or match["default"] or ""

    return _REFERENCE.sub(fill, value)


def _describe(path: Path | None, lines: Mapping[tuple[str | int, ...], int], error: Any) -> str:
    where = tuple(error["loc"])
    known = where
    while known and known not in lines:
        known = known[:-1]
    place = f"{path}: line {lines[known]}: " if path is not None and known in lines else ""
    dotted = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        section: Any = Settings
        return f"{place}unknown key {dotted!r}{_suggestion(section, where)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}{dotted + ': ' if dotted else ''}{message}"


def _suggestion(section: type[BaseModel], where: tuple[str | int, ...]) -> str:
    """Known keys of the section that holds the unknown one."""
    here: Any = section
    for part in where[:-1]:
        if isinstance(part, int):
            continue
        field = here.model_fields.get(part)
        if field is None:
            return ""
        here = next((t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)
        if here is None:
            return ""
    return f"; known keys: {', '.join(sorted(here.model_fields))}"


def _types(annotation: Any) -> list[Any]:
    inner = getattr(annotation, "__args__", None)
    return [annotation] if inner is None else [t for a in inner for t in _types(a)]


def _models_from_environment(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    if environ.get("OPENAI_API_KEY"):
        base_url = environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        deployment = {"name": "openai", "base_url": base_url, "api_key": environ["OPENAI_API_KEY"]}
        return [{"name": "*", "deployments": [deployment]}]
    if environ.get("AZURE_OPENAI_ENDPOINT") and environ.get("AZURE_OPENAI_API_KEY"):
        deployment = {
            "name": "azure", "kind": "azure", "base_url": environ["AZURE_OPENAI_ENDPOINT"],
            "api_key": environ["AZURE_OPENAI_API_KEY"], "api_version": environ.get("OPENAI_API_VERSION", "2024-10-21"),
        }  # fmt: skip
        return [{"name": "*", "deployments": [deployment]}]
    return []
