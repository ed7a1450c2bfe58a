"""Who may call and how: ``server``, ``auth``, ``telemetry``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from gateway.settings.base import Name, Seconds, Section


class ServerSettings(Section):
    host: str | None = None  # default: 127.0.0.1 without API keys, 0.0.0.0 with them
    port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=256)  # processes on that port; about one per core
    drain_s: float = Field(30.0, ge=0)
    max_body_mb: float = Field(10.0, gt=0)
    body_s: Seconds = 30.0  # for a request's body to arrive


def _long_enough(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < 8:
        raise ValueError("a key needs at least 8 characters")
    return key


class BudgetSettings(Section):
    """What one key may spend; days and months are those of UTC. Money is in the currency of the models' prices."""

    per_day: float | None = Field(None, gt=0)
    per_month: float | None = Field(None, gt=0)
    tokens_per_day: int | None = Field(None, gt=0)
    tokens_per_month: int | None = Field(None, gt=0)

    @property
    def money(self) -> bool:
        return self.per_day is not None or self.per_month is not None


class KeySettings(Section):
    key: Annotated[SecretStr, AfterValidator(_long_enough)]
    tenant: Name
    groups: tuple[str, ...] = ()  # document access groups
    rpm: int | None = Field(None, gt=0)  # requests a minute
    tpm: int | None = Field(None, gt=0)  # tokens a minute that the provider is sent or sends
    budget: BudgetSettings = BudgetSettings()


class AuthSettings(Section):
    keys: tuple[KeySettings, ...] = ()
    admin_key: SecretStr | None = None  # for /admin, which is off without one; when set, also for /metrics

    @field_validator("admin_key")
    @classmethod
    def _none_or_long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        return _long_enough(key) if key is not None and key.get_secret_value() else None

    @model_validator(mode="after")
    def _admin_key_is_its_own(self) -> AuthSettings:
        if self.admin_key is not None and self.admin_key in [holder.key for holder in self.keys]:
            raise ValueError("admin_key is also an API key: its holder could purge and pin answers of every tenant")
        return self


class TelemetrySettings(Section):
    server_timing: bool = True
    hit_details: bool = True  # similarity, entry and age headers; switch off for callers you do not trust
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
