"""``documents``: the collections, in the embedded store or wherever they live."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, SecretStr, Tag, ValidationInfo

from gateway.settings.base import HttpUrl, Name, RedisUrl, Section

Usual = TypeVar("Usual", bound=Any)


def _has_no_slash(name: str) -> str:
    if "/" in name:
        raise ValueError("must have no slash: one stands between a collection and its documents")
    return name


class _Collection(Section):
    name: Annotated[Name, AfterValidator(_has_no_slash)]
    groups: tuple[str, ...] = ()  # who may read it; empty: everybody with a key


class _External(_Collection):
    mirror_of: str = ""  # another external collection that holds the same: both are asked, the first answer counts


def _from_the_file(path: str, info: ValidationInfo) -> str:
    return str(info.context / path) if path and info.context is not None else path


class EmbeddedCollection(_Collection):
    kind: Literal["embedded"] = "embedded"
    path: Annotated[str, AfterValidator(_from_the_file)] = ""  # the folder that `ocho ingest` reads when it names none
    uploads: tuple[str, ...] = ()  # tenants that may add files over /v1/vector_stores; "*" = all


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


class PgVectorCollection(_External):
    kind: Literal["pgvector"]
    dsn: SecretStr  # postgresql://…
    table: Name
    words: bool = True  # the table has a text-search column
    connections: int = Field(8, ge=1, le=200)


class RedisCollection(_External):
    kind: Literal["redis"]
    url: RedisUrl
    prefix: str = "ocho:docs"


class OpenSearchCollection(_External):
    kind: Literal["opensearch"]
    url: HttpUrl
    index: Name
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    flavor: Literal["opensearch", "elasticsearch"] = "opensearch"
    dense: bool = True
    fields: FieldSettings = FieldSettings()


class QdrantCollection(_External):
    kind: Literal["qdrant"]
    url: HttpUrl
    collection: Name
    api_key: SecretStr = SecretStr("")
    using: str = ""  # the vector's name, where points have several
    fields: FieldSettings = FieldSettings()


class AzureSearchCollection(_External):
    kind: Literal["azure_search"]
    endpoint: HttpUrl
    index: Name
    api_key: SecretStr
    api_version: str = "2024-07-01"
    semantic: str = ""  # a semantic configuration of the index
    fields: FieldSettings = FieldSettings()


class HttpCollection(_External):
    kind: Literal["http"]
    url: HttpUrl
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    send_vector: bool = False


COLLECTIONS: dict[str, type[_Collection]] = {
    "embedded": EmbeddedCollection, "pgvector": PgVectorCollection, "redis": RedisCollection,
    "opensearch": OpenSearchCollection, "qdrant": QdrantCollection, "azure_search": AzureSearchCollection,
    "http": HttpCollection,
}  # fmt: skip


def mirrored(collection: _Collection) -> str:
    """The collection that this one is a mirror of; "" for one of its own."""
    return collection.mirror_of if isinstance(collection, _External) else ""


def _kind_of(given: Any) -> Any:
    return given.get("kind", "embedded") if isinstance(given, dict) else getattr(given, "kind", "embedded")


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
