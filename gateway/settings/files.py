"""``files``: who serves ``/v1/files`` and ``/v1/vector_stores``, and how much callers may upload."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.settings.base import Section


class FilesSettings(Section):
    api: Literal["auto", "ocho", "provider"] = "auto"  # auto: this gateway where it has embedded collections
    max_file_mb: float = Field(64.0, gt=0, le=200)
    max_total_mb: float = Field(2048.0, gt=0)  # of all files of a tenant
