"""The documents that a chat request names for itself (pure): Azure's ``data_sources`` ("On Your Data") and OpenAI's
``file_search`` tool, taken out of the body. The provider never sees them: the search is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.chat import NamedDocuments
from gateway.errors import InvalidRequest

MAX_STORES = 8
MAX_TOP_K = 50
_SAYS_WHERE = {"azure_search": "index_name", "AzureCognitiveSearch": "indexName"}  # today's name and the preview's
_NARROWS = ("filter",)  # fields that hide documents: ignoring one would show them


def named_documents(body: dict[str, Any]) -> NamedDocuments | None:
    """What the request names, taken out of ``body``; None where it names nothing. Raises InvalidRequest."""
    for field in ("data_sources", "dataSources"):
        if field in body:
            return _of_azure(body.pop(field), field)
    return _of_tools(body)


def _of_azure(given: object, field: str) -> NamedDocuments | None:
    if not given:
        return None
    if not isinstance(given, list) or len(given) > MAX_STORES or not all(isinstance(one, Mapping) for one in given):
        raise InvalidRequest(f"{field} must be a list of at most {MAX_STORES} data sources", param=field)
    names, top_k = [], None
    for number, source in enumerate(given):
        param = f"{field}[{number}]"
        key = _SAYS_WHERE.get(str(source.get("type")))
        if key is None:
            raise InvalidRequest(
                f"the type must be azure_search; its index_name is the name of a collection of this gateway, found "
                f"{str(source.get('type'))[:40]!r}", param=f"{param}.type",
            )  # fmt: skip
        parameters = source.get("parameters")
        name = parameters.get(key) if isinstance(parameters, Mapping) else None
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"{key} must name a collection of this gateway", param=f"{param}.parameters.{key}")
        assert isinstance(parameters, Mapping)
        for narrowing in _NARROWS:
            if parameters.get(narrowing):
                raise InvalidRequest(
                    f"{narrowing!r} is not supported: what a caller may read is decided by the groups of its API key",
                    param=f"{param}.parameters.{narrowing}",
                )
        top_k = _top_k(parameters.get("top_n_documents", parameters.get("topNDocuments")), param) or top_k
        names.append(name)
    return NamedDocuments(tuple(names), f"{field}[0].parameters", top_k)


def searched_stores(body: Mapping[str, Any]) -> list[str]:
    """The vector stores that ``file_search`` tools name; none where they are malformed."""
    tools = body.get("tools")
    searches = [t for t in tools if isinstance(t, Mapping)] if isinstance(tools, list) else []
    lists = [t.get("vector_store_ids") for t in searches if t.get("type") == "file_search"]
    return [id for ids in lists if isinstance(ids, list) for id in ids if isinstance(id, str)]


def _of_tools(body: dict[str, Any]) -> NamedDocuments | None:
    tools = body.get("tools")
    if not isinstance(tools, list):
        return None
    searches = [tool for tool in tools if isinstance(tool, Mapping) and tool.get("type") == "file_search"]
    if not searches:
        return None
    names: list[str] = []
    top_k = None
    for search in searches:
        ids = search.get("vector_store_ids")
        if not isinstance(ids, list) or not ids or not all(isinstance(id, str) for id in ids):
            raise InvalidRequest("file_search needs vector_store_ids, a list of ids", param="tools")
        if search.get("filters"):
            raise InvalidRequest("filters of file_search are not supported in chat", param="tools")
        names += ids
        top_k = _top_k(search.get("max_num_results"), "tools") or top_k
    if len(names) > MAX_STORES:
        raise InvalidRequest(f"file_search takes at most {MAX_STORES} vector stores", param="tools")
    others = [tool for tool in tools if tool not in searches]
    if others:
        body["tools"] = others
    else:
        for field in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(field, None)
    return NamedDocuments(tuple(names), "tools", top_k)


def _top_k(given: object, param: str) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_TOP_K:
        raise InvalidRequest(f"the number of documents must be from 1 to {MAX_TOP_K}", param=param)
    return given
