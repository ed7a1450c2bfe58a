"""The whole file: its sections, and how they must fit together."""

from __future__ import annotations

from pydantic import model_validator

from gateway.settings.answers import AnswersSettings
from gateway.settings.base import Place, Section
from gateway.settings.cache import CacheSettings
from gateway.settings.collections import CollectionSettings, mirrored
from gateway.settings.files import FilesSettings
from gateway.settings.models import ModelSettings
from gateway.settings.server import AuthSettings, ServerSettings, TelemetrySettings


class Mismatch(ValueError):
    """Sections that are right by themselves and do not fit together."""

    def __init__(self, problems: list[tuple[Place, str]]) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = problems


class Settings(Section):
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    models: tuple[ModelSettings, ...] = ()
    cache: CacheSettings = CacheSettings()
    answers: AnswersSettings = AnswersSettings()
    documents: tuple[CollectionSettings, ...] = ()
    files: FilesSettings = FilesSettings()
    data_dir: str = "ocho-data"
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _names_meet(self) -> Settings:
        if problems := _problems(self):
            raise Mismatch(problems)
        return self

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.documents if not mirrored(c))

    @property
    def serves_files(self) -> bool:
        """Whether ``/v1/files`` and ``/v1/vector_stores`` are answered here, not by the provider."""
        if self.files.api == "auto":
            return any(c.kind == "embedded" for c in self.documents)
        return self.files.api == "ocho"

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
        rewriter = model.documents.rewrite.model if model.documents is not None else "off"
        references += [(("documents", "rewrite", "model"), rewriter)] if rewriter not in {"auto", "off"} else []
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
    external = {c.name for c in settings.documents if c.kind != "embedded" and not mirrored(c)}
    problems += [
        (("documents", i, "mirror_of"), f"mirror_of {mirrored(c)!r} is no external collection of its own here")
        for i, c in enumerate(settings.documents)
        if mirrored(c) and mirrored(c) not in external
    ]
    embedder = cache.semantic.embedder
    if embedder == "onnx" and not cache.semantic.onnx.folder:
        problems.append(
            (("cache", "semantic", "onnx", "folder"), "cache.semantic.embedder is onnx: name the folder of the model")
        )
    if embedder not in {"auto", "local", "onnx", "off"} and embedder not in answering:
        problems.append(
            (
                ("cache", "semantic", "embedder"),
                f"cache.semantic.embedder {embedder!r} is neither auto, local, onnx, off nor a model with deployments "
                "here",
            )
        )
    verify = settings.answers.verify
    if verify is not None and verify.model not in answering:
        problems.append(
            (
                ("answers", "verify", "model"),
                f"answers.verify refers to {verify.model!r}, no model with deployments here",
            )
        )
    judge = cache.semantic.judge.model
    if judge not in {"auto", "off"} and judge not in answering:
        problems.append(
            (
                ("cache", "semantic", "judge", "model"),
                f"cache.semantic.judge.model {judge!r} is neither auto, off nor a model with deployments here",
            )
        )
    keys = [k.key.get_secret_value() for k in settings.auth.keys]
    problems += [
        (("auth", "keys", i), "auth.keys holds the same key twice") for i, key in enumerate(keys) if key in keys[:i]
    ]
    unpriced = [m.name for m in models if m.deployments and m.price is None]
    problems += [
        (
            ("auth", "keys", i, "budget"),
            f"a budget in money needs to know what answers cost: model {unpriced[0]!r} has no price",
        )
        for i, holder in enumerate(settings.auth.keys)
        if holder.budget.money and unpriced
    ]
    return problems


def _twice(what: str, named: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
    names = [name for _, name in named]
    return [(place, f"{what} {name!r} is named twice") for i, (place, name) in enumerate(named) if name in names[:i]]
