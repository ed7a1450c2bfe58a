"""Where reviewed answers are kept for good, and the list of what waits for a reviewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.answers.reviewed import Change, Reviewed
from gateway.errors import InvalidRequest, StoreUnavailable

MAX_CHANGES = 20_000  # lines of audit trail that are kept


class Conflict(InvalidRequest):
    """Somebody else changed the record since it was read."""

    status, code = 409, "conflict"


class Book(Protocol):
    """Keeps records and their history. Raises StoreUnavailable, and where said Conflict."""

    async def head(self) -> int:
        """Another number after every change by any gateway on this book. Cheap: asked several times a second."""

    async def all(self) -> list[Reviewed]:
        """Every record of every tenant; damaged ones are left out."""

    async def get(self, tenant: str, id: str) -> Reviewed | None: ...

    async def save(self, answer: Reviewed, change: Change) -> Reviewed:
        """Keep ``answer`` with its line in the history, both or neither; returned with its new revision.

        Raises Conflict where the stored record has another revision than ``answer`` (0: none is stored).
        """

    async def delete(self, answer: Reviewed, change: Change) -> None:
        """Raises Conflict as ``save``. The history stays."""

    async def history(self, limit: int, tenant: str = "", id: str = "") -> list[Change]:
        """The latest changes first; of one tenant or one record where given."""


CHANGED = "this answer was changed meanwhile; read it again, then repeat the change"


@dataclass(frozen=True, slots=True)
class NoBook:
    """Stands where no book could be opened: nothing is served from it, and whoever wants to write hears why."""

    reason: str

    async def head(self) -> int:
        return 0

    async def all(self) -> list[Reviewed]:
        return []

    async def get(self, tenant: str, id: str) -> Reviewed | None:
        raise StoreUnavailable(self.reason)

    async def save(self, answer: Reviewed, change: Change) -> Reviewed:
        raise StoreUnavailable(self.reason)

    async def delete(self, answer: Reviewed, change: Change) -> None:
        raise StoreUnavailable(self.reason)

    async def history(self, limit: int, tenant: str = "", id: str = "") -> list[Change]:
        raise StoreUnavailable(self.reason)
