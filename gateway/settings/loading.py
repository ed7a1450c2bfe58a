"""The settings from a file, or from the environment alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.settings.base import Place, SettingsError
from gateway.settings.file import read
from gateway.settings.mistakes import described
from gateway.settings.root import Settings

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
        raw, lines = read(path, environ)
    variables: dict[Place, str] = {}  # what came from the environment by itself
    if not raw.get("models"):
        raw["models"] = _models_from_environment(environ, variables)
    if not raw["models"] and needs_models and raw.keys() <= Settings.model_fields.keys():  # else it may be misspelt
        raise SettingsError(NO_PROVIDER)
    if environ.get("REDIS_URL"):
        cache = raw.setdefault("cache", {})
        redis = cache.setdefault("redis", {}) if isinstance(cache, dict) else None
        if isinstance(redis, dict) and "url" not in redis:
            redis["url"] = environ["REDIS_URL"]
            variables["cache", "redis", "url"] = "REDIS_URL"
    server = raw.setdefault("server", {})
    if isinstance(server, dict):
        for name in ("host", "port"):
            if value := environ.get(f"OCHO_{name.upper()}"):
                server[name] = value
                variables["server", name] = f"OCHO_{name.upper()}"
    try:
        return Settings.model_validate(raw, context=path and path.parent)  # where relative paths start
    except ValidationError as error:
        told = [line for e in error.errors() for line in described(path, lines, variables, e)]
        raise SettingsError("\n".join(told)) from None


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
