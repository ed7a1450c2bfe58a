"""Who may call and how: ``server``, ``auth``, ``telemetry``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from gateway.settings.base import Name, Seconds, Section


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


class TelemetrySettings(Section):
    server_timing: bool = True
    hit_details: bool = True  # similarity, entry and age headers; switch off for callers you do not trust
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
