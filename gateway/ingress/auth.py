"""API key → tenant. Keys are kept and compared as hashes only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.chat import Tenant
from gateway.errors import Forbidden, Unauthorized

OPEN = "open"  # id of the one tenant of a gateway without keys


@dataclass(frozen=True, slots=True)
class KeyHolder:
    tenant: Tenant
    key_id: str  # first half of the key's hash: names the key without giving it away


class KeyRing:
    """Who holds which key. Without keys everybody is one tenant (for a gateway on loopback)."""

    def __init__(self, keys: Sequence[tuple[str, Tenant]], admin_key: str = "") -> None:
        self._holders = {_digest(key): KeyHolder(tenant, key_id(key)) for key, tenant in keys}
        self._open = KeyHolder(Tenant(OPEN), "")
        # None where nobody known asks. A lookup by SHA-256 leaks nothing of a key through its timing.
        self.known: Callable[[bytes], KeyHolder | None] = self._holders.get if keys else lambda _: self._open
        self._admin = _digest(admin_key) if admin_key else None

    @property
    def holders(self) -> list[KeyHolder]:
        """Everybody who may call; without keys the one that everybody is."""
        return list(self._holders.values()) or [self._open]

    def holder(self, key: bytes) -> KeyHolder:
        """Whose key was ``presented``. Raises Unauthorized."""
        holder = self.known(key)
        if holder is not None:
            return holder
        if not key:
            raise Unauthorized("no API key: send 'Authorization: Bearer KEY' or, as Azure clients do, 'api-key: KEY'")
        raise Unauthorized("this API key is not known here; ask whoever runs this gateway for one")

    @property
    def operator(self) -> str:
        """Names the admin key in an audit trail without giving it away; "" without one."""
        return self._admin[:4].hex() if self._admin is not None else ""

    def require_operator(self, headers: Mapping[str, str]) -> None:
        """For what changes things: as ``require_admin``, and nobody passes where no admin key is configured."""
        if self._admin is None:
            raise Forbidden(
                "administration is off: no admin key is configured; set auth.admin_key in the configuration",
                code="admin_key_not_configured",
            )
        self.require_admin(headers)

    def require_admin(self, headers: Mapping[str, str]) -> None:
        """Raises Unauthorized or Forbidden when an admin key is configured and this is not it."""
        if self._admin is None:
            return
        key = presented(headers)
        if not key:
            raise Unauthorized("this page needs the admin key: send 'Authorization: Bearer KEY'")
        if not hmac.compare_digest(key, self._admin):
            raise Forbidden("this page needs the admin key")


def presented(headers: Mapping[str, str]) -> bytes:
    """Digest of the key in ``headers``, b"" where there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else ""
    key = key or headers.get("api-key", "").strip()
    return _digest(key) if key else b""


def key_id(key: str) -> str:
    """Names the key without giving it away."""
    return _digest(key)[:16].hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
