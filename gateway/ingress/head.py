"""What the headers of a request say to the gateway itself (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.ingress.auth import presented
from gateway.ingress.wishes import wishes_in
from gateway.values import dataclass

HANDED_ON = ("traceparent", "tracestate", "openai-beta")  # request headers that go upstream as they came
HARMLESS = re.compile(r"[\x20-\x7e]{1,512}")
_SAFE_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """Nothing here is of one request alone: it may be shared by many."""

    key: bytes  # digest of the API key, as ``auth.presented`` gives it
    request_id: str  # the caller's own; "" where there is none that is harmless in a log and a header
    wishes: Mapping[str, str]  # by their names without prefix
    handed_on: Mapping[str, str]
    path_model: str | None = None  # the model that an Azure path names
    keep_alive: bool = True


def request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id", "")
    return given if _SAFE_ID.fullmatch(given) else ""


def head_of(headers: Mapping[str, str], path_model: str | None = None) -> Head:
    """``headers`` are asked with lower-case names."""
    handed_on = {name: headers[name] for name in HANDED_ON if name in headers}
    return Head(
        key=presented(headers),
        request_id=request_id(headers),
        wishes=wishes_in(headers),
        handed_on={name: value for name, value in handed_on.items() if HARMLESS.fullmatch(value)},
        path_model=path_model,
        keep_alive=headers.get("connection", "keep-alive").lower() == "keep-alive",
    )
