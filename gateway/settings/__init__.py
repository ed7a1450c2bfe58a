"""The configuration: one frozen model per section of ``ocho.yaml``; every mistake is reported at once, with its line.

Secrets come from the environment (``${NAME}``, ``${NAME:-default}``) or from files (``${file:/run/secrets/name}``).
"""

from gateway.settings.base import SettingsError
from gateway.settings.loading import NO_PROVIDER, load
from gateway.settings.root import Settings

__all__ = ["NO_PROVIDER", "Settings", "SettingsError", "load"]
