"""Which documents a request may name for itself, and what searches them.

A model has its collections from the configuration. Beside them a request may name collections of its own choice
(Azure's ``data_sources``, a ``file_search`` tool): a configured one, or a vector store of its tenant. Everything else
does not exist for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from gateway.chat import NamedDocuments, Tenant
from gateway.errors import NotFound
from gateway.ports import Source
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from gateway.retrieval.uploads.library import Library

MAX_OPEN = 64  # vector stores with an index in memory, and choices of collections with a gatherer; the idlest go first
TOP_K = 5

MakeGatherer = Callable[[Mapping[str, Source], int], Gatherer]


class Shelves:
    """``configured`` sources by collection; ``library`` None where callers upload nothing.

    ``model`` names the embedder, None without one.
    """

    def __init__(
        self,
        configured: Mapping[str, Source],
        record: Record,
        library: Library | None,
        make_gatherer: MakeGatherer,
        *,
        model: str | None = None,
    ) -> None:
        self._configured = dict(configured)
        self.record = record
        self.library = library
        self._make_gatherer = make_gatherer
        self._model = model
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="search-uploads")
        self._opened: OrderedDict[str, EmbeddedSource] = OrderedDict()
        self._gatherers: OrderedDict[tuple[tuple[str, ...], int], Gatherer] = OrderedDict()

    async def close(self) -> None:
        for gatherer in self._gatherers.values():
            await gatherer.close()
        for source in self._opened.values():
            await source.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def collections(self, named: NamedDocuments, tenant: Tenant) -> tuple[str, ...]:
        """The collections behind the names. Raises NotFound for what the tenant does not have."""
        return tuple(dict.fromkeys(self._collection(name, named.param, tenant) for name in named.names))

    def knows(self, name: str, tenant: Tenant) -> bool:
        """Whether the tenant has documents of that name here."""
        try:
            self._collection(name, "", tenant)
        except NotFound:
            return False
        return True

    def gatherer(self, collections: tuple[str, ...], top_k: int | None) -> Gatherer:
        """Searches these collections; kept, so that what is learned of slow sources is not lost."""
        key = (collections, top_k or TOP_K)
        if key not in self._gatherers:
            sources = {name: self.source(name) for name in collections}
            self._gatherers[key] = self._make_gatherer(sources, key[1])
            if len(self._gatherers) > MAX_OPEN:
                self._gatherers.popitem(last=False)  # what it still watches keeps it until that ends
        self._gatherers.move_to_end(key)
        return self._gatherers[key]

    def source(self, collection: str) -> Source:
        if collection in self._configured:
            return self._configured[collection]
        if collection not in self._opened:
            made = EmbeddedSource(collection, self.record, model=self._model, threads=self._threads)
            self._opened[collection] = made
            if len(self._opened) > MAX_OPEN:
                self._opened.popitem(last=False)  # its threads are ours: nothing to close
        self._opened.move_to_end(collection)
        return self._opened[collection]

    def _collection(self, name: str, param: str, tenant: Tenant) -> str:
        if name in self._configured:
            return name
        if self.library is not None and name.startswith("vs_"):
            return self.library.store(name, tenant).collection
        known = ", ".join(sorted(self._configured)) or "none"
        raise NotFound(
            f"no documents are named {name[:80]!r} here; configured collections: {known}", param=param,
            code="index_not_found",
        )  # fmt: skip
