"""The configuration: one frozen model per section of ``ocho.yaml``; every mistake is reported at once, with its line.

Secrets come from the environment (``${NAME}``, ``${NAME:-default}``) or from files (``${file:/run/secrets/name}``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)


class SettingsError(Exception):
    """The configuration cannot be used; ``str()`` lists every mistake and what to do."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


Usual = TypeVar("Usual", bound=Any)
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


class DeadlineSettings(Section):
    """The promise: when a caller has an answer, and what is given when the model is not ready by then."""

    seconds: Seconds = 5.0
    on_expiry: tuple[Literal["draft", "stale", "quote", "wait"], ...] = ("draft", "stale", "quote", "wait")


class DraftSettings(Section):
    """A fast model's short answer, given where it passes the confidence gate."""

    model: Name
    mode: Literal["off", "cascade", "armed", "race", "auto"] = "auto"
    max_tokens: int = Field(160, ge=16, le=4096)
    max_extra_spend: float = Field(0.15, ge=0, le=1)  # big answers begun in vain, as a share of what all would cost


class HedgeSettings(Section):
    """A second deployment beside one that is late with its first token. Needs two deployments."""

    after: Literal["p90", "p95", "p99"] = "p95"  # of the deployment's recent first-token times
    min_s: Seconds = 0.3
    max_extra_tokens: float = Field(0.05, ge=0, le=1)


class PriceSettings(Section):
    """Money per million tokens, in any one currency."""

    input: float = Field(0.0, ge=0)
    output: float = Field(0.0, ge=0)


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
    sized: bool = False  # ask for what fits in the time left
    price: PriceSettings | None = None
    hedge: HedgeSettings | None = None
    cache: bool | None = None  # default: on for models with documents, else off unless a request asks for it

    @model_validator(mode="after")
    def _has_somewhere_to_go(self) -> ModelSettings:
        if bool(self.deployments) == bool(self.answers_with):
            raise ValueError("give either deployments or answers_with")
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


class _Collection(Section):
    name: Name
    groups: tuple[str, ...] = ()  # who may read it; empty: everybody with a key


class EmbeddedCollection(_Collection):
    kind: Literal["embedded"] = "embedded"
    path: str | None = None  # folder to ingest at start, if any


class FieldSettings(Section):
    """Which field of an index holds what; "" = it has none."""

    text: str | None = None
    document: str | None = None
    title: str | None = None
    section: str | None = None
    position: str | None = None
    version: str | None = None
    groups: str | None = None
    vector: str | None = None

    def over(self, usual: Usual) -> Usual:
        """The service's usual fields, changed where one is given."""
        return replace(usual, **{name: value for name, value in self.model_dump().items() if value is not None})


class PgVectorCollection(_Collection):
    kind: Literal["pgvector"]
    dsn: SecretStr  # postgresql://…
    table: Name
    words: bool = True  # the table has a text-search column
    connections: int = Field(8, ge=1, le=200)


class RedisCollection(_Collection):
    kind: Literal["redis"]
    url: SecretStr
    prefix: str = "ocho:docs"


class OpenSearchCollection(_Collection):
    kind: Literal["opensearch"]
    url: str
    index: Name
    headers: dict[str, SecretStr] = {}
    flavor: Literal["opensearch", "elasticsearch"] = "opensearch"
    dense: bool = True
    fields: FieldSettings = FieldSettings()


class QdrantCollection(_Collection):
    kind: Literal["qdrant"]
    url: str
    collection: Name
    api_key: SecretStr = SecretStr("")
    using: str = ""  # the vector's name, where points have several
    fields: FieldSettings = FieldSettings()


class AzureSearchCollection(_Collection):
    kind: Literal["azure_search"]
    endpoint: str
    index: Name
    api_key: SecretStr
    api_version: str = "2024-07-01"
    semantic: str = ""  # a semantic configuration of the index
    fields: FieldSettings = FieldSettings()


class HttpCollection(_Collection):
    kind: Literal["http"]
    url: str
    headers: dict[str, SecretStr] = {}
    send_vector: bool = False


COLLECTIONS: dict[str, type[_Collection]] = {
    "embedded": EmbeddedCollection, "pgvector": PgVectorCollection, "redis": RedisCollection,
    "opensearch": OpenSearchCollection, "qdrant": QdrantCollection, "azure_search": AzureSearchCollection,
    "http": HttpCollection,
}  # fmt: skip


def _kind_of(given: Any) -> Any:
    return given.get("kind", "embedded") if isinstance(given, dict) else getattr(given, "kind", None)


CollectionSettings = Annotated[
    Annotated[EmbeddedCollection, Tag("embedded")]
    | Annotated[PgVectorCollection, Tag("pgvector")]
    | Annotated[RedisCollection, Tag("redis")]
    | Annotated[OpenSearchCollection, Tag("opensearch")]
    | Annotated[QdrantCollection, Tag("qdrant")]
    | Annotated[AzureSearchCollection, Tag("azure_search")]
    | Annotated[HttpCollection, Tag("http")],
    Discriminator(
        _kind_of, custom_error_type="kind", custom_error_message=f"kind must be one of {', '.join(COLLECTIONS)}"
    ),
]


class TelemetrySettings(Section):
    server_timing: bool = True
    hit_details: bool = True  # similarity, entry and age headers; switch off for callers you do not trust
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"


Place = tuple[str | int, ...]  # of a value in the file: ("models", 0, "name")


class _Mismatch(ValueError):
    """Sections that are right by themselves and do not fit together."""

    def __init__(self, problems: list[tuple[Place, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


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
        if problems := _problems(self):
            raise _Mismatch(problems)
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


def _problems(settings: Settings) -> list[tuple[Place, str]]:
    """Names that occur twice, and names that are used but nowhere given."""
    cache, models = settings.cache, settings.models
    problems = [
        *_twice("model", [(("models", i, "name"), m.name) for i, m in enumerate(models)]),
        *_twice(
            "deployment",
            [
                (("models", i, "deployments", j, "name"), d.name)
                for i, m in enumerate(models)
                for j, d in enumerate(m.deployments)
            ],
        ),
        *_twice("collection", [(("documents", i, "name"), c.name) for i, c in enumerate(settings.documents)]),
    ]
    answering = {m.name for m in models if m.deployments}
    for index, model in enumerate(models):
        references: list[tuple[Place, str]] = [(("fallbacks", i), name) for i, name in enumerate(model.fallbacks)]
        references += [(("answers_with",), model.answers_with)] if model.answers_with else []
        references += [(("draft", "model"), model.draft.model)] if model.draft is not None else []
        problems += [
            (("models", index, *where), f"model {model.name!r} refers to {name!r}, which is no model with deployments")
            for where, name in references
            if name not in answering
        ]
        wanted = model.documents.collections if model.documents else ()
        problems += [
            (
                ("models", index, "documents", "collections", i),
                f"model {model.name!r} uses collection {name!r}, which is not under documents",
            )
            for i, name in enumerate(wanted)
            if name not in settings.collections
        ]
    if cache.store == "redis" and not cache.redis.url.get_secret_value():
        problems.append(
            (("cache", "store"), "cache.store is redis, but cache.redis.url is empty (set it, or REDIS_URL)")
        )
    embedder = cache.semantic.embedder
    if embedder not in {"auto", "local", "off"} and embedder not in answering:
        problems.append(
            (
                ("cache", "semantic", "embedder"),
                f"cache.semantic.embedder {embedder!r} is neither auto, local, off nor a model with deployments here",
            )
        )
    keys = [k.key.get_secret_value() for k in settings.auth.keys]
    problems += [
        (("auth", "keys", i), "auth.keys holds the same key twice") for i, key in enumerate(keys) if key in keys[:i]
    ]
    return problems


def _twice(what: str, named: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
    names = [name for _, name in named]
    return [(place, f"{what} {name!r} is named twice") for i, (place, name) in enumerate(named) if name in names[:i]]


NO_PROVIDER = """no provider is configured. Do one of these:
  1. export OPENAI_API_KEY=…            (and OPENAI_BASE_URL for another OpenAI-compatible server)
  2. export AZURE_OPENAI_ENDPOINT=https://NAME.openai.azure.com AZURE_OPENAI_API_KEY=… (and OPENAI_API_VERSION)
  3. write ocho.yaml (see examples/ocho.yaml) and start with: ocho serve --config ocho.yaml"""


def load(path: Path | None, environ: Mapping[str, str] = os.environ, *, needs_models: bool = True) -> Settings:
    """The settings in ``path``, or those the environment alone gives. Raises SettingsError."""
    if path is None:
        raw: dict[str, Any] = {}
        lines: dict[Place, int] = {}
    else:
        raw, lines = _read(path, environ)
    variables: dict[Place, str] = {}  # what came from the environment by itself
    if not raw.get("models"):
        raw["models"] = _models_from_environment(environ, variables)
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
                variables["server", name] = f"OCHO_{name.upper()}"
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        told = [line for e in error.errors() for line in _describe(path, lines, variables, e)]
        raise SettingsError("\n".join(told)) from None


class _Loader(yaml.SafeLoader):
    """YAML without dates: ``api_version: 2024-10-21`` is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[Place, int]]:
    """What the file holds, references filled in, and the line of every value. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise SettingsError(f"{path}: cannot be read ({cause.strerror})") from cause
    except UnicodeDecodeError as cause:
        raise SettingsError(f"{path}: is not UTF-8 text") from cause
    references = _References(path, environ)
    try:
        text = references.hidden(text)
        root = yaml.compose(text, Loader=_Loader)
        raw = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as cause:  # its own text quotes the line, where a secret may stand
        mark = getattr(cause, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise SettingsError(f"{path}: {line}is not YAML: {getattr(cause, 'problem', None) or cause}") from None
    except RecursionError:
        raise SettingsError(f"{path}: is nested too deeply") from None
    if raw is None:
        return {}, {}
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: must hold sections such as models: and cache:, found {type(raw).__name__}")
    lines: dict[Place, int] = {}
    problems: list[str] = []
    try:
        _locate(root, (), lines, problems)
        filled = references.filled(raw, (), lines, problems)
    except RecursionError:  # an alias of itself
        raise SettingsError(f"{path}: is nested without end") from None
    if problems:
        raise SettingsError("\n".join(f"{path}: {problem}" for problem in problems))
    return filled, lines


def _locate(node: yaml.Node | None, where: Place, lines: dict[Place, int], problems: list[str]) -> None:
    """The line of every value; a key that stands twice is a problem, not a silent loss of the first."""
    if node is None:
        return
    lines[where] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*where, key.value)
            if place in lines:
                problems.append(
                    f"line {key.start_mark.line + 1}: {key.value!r} stands here again, after line {lines[place]}"
                )
            _locate(value, place, lines, problems)
            lines[place] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _locate(value, (*where, index), lines, problems)


_REFERENCE = re.compile(r"\$\{(?:file:(?P<file>[^}\n]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}\n]*))?)\}")
_HIDDEN = re.compile("\ue000(\\d+)\ue001")


class _References:
    """``${NAME}``, ``${NAME:-default}`` and ``${file:PATH}`` of one file.

    They are hidden while the YAML is read, so that ``{key: ${NAME}}`` needs no quotes and no value is read as YAML.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._found: list[re.Match[str]] = []

    def hidden(self, text: str) -> str:
        def hide(match: re.Match[str]) -> str:
            self._found.append(match)
            return f"\ue000{len(self._found) - 1}\ue001"

        return _REFERENCE.sub(hide, text)

    def filled(self, value: Any, where: Place, lines: Mapping[Place, int], problems: list[str]) -> Any:
        if isinstance(value, dict):
            return {k: self.filled(v, (*where, k), lines, problems) for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v, (*where, i), lines, problems) for i, v in enumerate(value)]
        if not isinstance(value, str):
            return value

        def fill(match: re.Match[str]) -> str:
            number = int(match[1])
            if number >= len(self._found):
                return match[0]
            try:
                return self._value(self._found[number])
            except SettingsError as problem:
                problems.append(f"line {lines.get(where, 0)}: {problem}")
                return ""

        return _HIDDEN.sub(fill, value)

    def _value(self, match: re.Match[str]) -> str:
        if match["file"]:
            try:
                return (self._path.parent / match["file"]).read_text(encoding="utf-8").strip()
            except OSError as cause:
                raise SettingsError(f"the file {match['file']} cannot be read ({cause.strerror})") from cause
            except UnicodeDecodeError as cause:
                raise SettingsError(f"the file {match['file']} is not UTF-8 text") from cause
        found = self._environ.get(match["name"])
        if not found and match["default"] is None:
            raise SettingsError(f"the environment variable {match['name']} is not set; "
                                f"export it or write ${{{match['name']}:-default}}")  # fmt: skip
        return found or match["default"] or ""


def _describe(path: Path | None, lines: Mapping[Place, int], variables: Mapping[Place, str], error: Any) -> list[str]:
    """One line per mistake: where, what, and what to write instead."""
    if isinstance(mismatch := error.get("ctx", {}).get("error"), _Mismatch):
        return [_placed(path, lines, place) + message for place, message in mismatch.problems]
    where: Place = tuple(error["loc"])
    section: type[BaseModel] = Settings
    if where[:1] == ("documents",) and len(where) > 2 and where[2] in COLLECTIONS:  # pydantic names the kind there
        section, where = COLLECTIONS[str(where[2])], (*where[:2], *where[3:])
    if where in variables:
        return [f"the environment variable {variables[where]}: {error['msg'].removeprefix('Value error, ')}"]
    place = _placed(path, lines, where)
    dotted = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        return [f"{place}unknown key {dotted!r}{_suggestion(section, where if section is Settings else where[2:])}"]
    message = error["msg"].removeprefix("Value error, ")
    return [f"{place}{dotted + ': ' if dotted else ''}{message}"]


def _placed(path: Path | None, lines: Mapping[Place, int], where: Place) -> str:
    """ "FILE: line N: " of the value, or of the nearest thing around it that has a line."""
    known = where
    while known and known not in lines:
        known = known[:-1]
    return f"{path}: line {lines[known]}: " if path is not None and known in lines else ""


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


def _models_from_environment(environ: Mapping[str, str], variables: dict[Place, str]) -> list[dict[str, Any]]:
    base_url_place: Place = ("models", 0, "deployments", 0, "base_url")
    if environ.get("OPENAI_API_KEY"):
        variables[base_url_place] = "OPENAI_BASE_URL"
        base_url = environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        deployment = {"name": "openai", "base_url": base_url, "api_key": environ["OPENAI_API_KEY"]}
        return [{"name": "*", "deployments": [deployment]}]
    if environ.get("AZURE_OPENAI_ENDPOINT") and environ.get("AZURE_OPENAI_API_KEY"):
        variables[base_url_place] = "AZURE_OPENAI_ENDPOINT"
        deployment = {
            "name": "azure", "kind": "azure", "base_url": environ["AZURE_OPENAI_ENDPOINT"],
            "api_key": environ["AZURE_OPENAI_API_KEY"], "api_version": environ.get("OPENAI_API_VERSION", "2024-10-21"),
        }  # fmt: skip
        return [{"name": "*", "deployments": [deployment]}]
    return []
