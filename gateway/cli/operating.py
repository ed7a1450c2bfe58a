"""How the commands for operators reach a running gateway."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from gateway.cli.common import DEFAULT_CONFIG, fail, out
from gateway.settings import Settings, SettingsError, load

UrlOption = Annotated[
    str | None, typer.Option("--url", envvar="OCHO_URL", help="Of the gateway; default: where the configuration says.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", envvar="OCHO_ADMIN_KEY", help="Its admin key; default: auth.admin_key.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what the gateway replied, as JSON.")]
WAIT_S = 600.0
PASSING_S = 2.0  # for what is only asked by the way


class Gateway:
    """The admin pages of a running gateway. Every failure ends the command with one line."""

    def __init__(self, config: Path | None, url: str | None, key: str | None, headers: Mapping[str, str] = {}) -> None:
        self._url, self._key = (url or "").rstrip("/"), key or ""
        self._headers = headers
        if self._url and not re.match(r"https?://[^/\s\[]|https?://\[[0-9a-f:]+\]", self._url, re.IGNORECASE):
            fail(f"{self._url!r} is no address of a gateway: give --url (or OCHO_URL) as http://HOST:PORT")
        if self._url and self._key:
            return
        path = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
        try:
            settings = load(path, needs_models=False)
        except SettingsError as error:
            fail(f"{error}\n(or give --url and --key, or OCHO_URL and OCHO_ADMIN_KEY)")
        self._url = self._url or _url_of(settings)
        admin_key = settings.auth.admin_key
        self._key = self._key or (admin_key.get_secret_value() if admin_key is not None else "")
        if not self._key:
            fail("no admin key: set auth.admin_key in the configuration, or give --key or OCHO_ADMIN_KEY")

    def get(self, path: str, **query: str) -> Any:
        return self._parsed("GET", path, query, None)

    def post(self, path: str, body: Any) -> Any:
        return self._parsed("POST", path, {}, body if isinstance(body, bytes) else orjson.dumps(body))

    def delete(self, path: str, **query: str) -> Any:
        return self._parsed("DELETE", path, query, None)

    def read(self, path: str, **query: str) -> bytes:
        """A page that is not JSON."""
        status, raw = asyncio.run(self._call("GET", path, query, None))
        if status != 200:
            self._reply(path, status, raw)
        return raw

    def _parsed(self, method: str, path: str, query: dict[str, str], body: bytes | None) -> Any:
        return self._reply(path, *asyncio.run(self._call(method, path, query, body)))

    def _reply(self, path: str, status: int, raw: bytes) -> Any:
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError:
            fail(f"{self._url}{path} answered {status} and no JSON; is this an Ocho gateway?")
        if isinstance(reply, dict) and "error" in reply:
            fail(str(reply["error"].get("message", reply["error"])))
        return reply

    async def _call(self, method: str, path: str, query: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        import aiohttp

        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json", **self._headers}
        timeout = aiohttp.ClientTimeout(total=WAIT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.request(method, self._url + path, params=query, data=body, headers=headers) as response,
            ):
                return response.status, await response.read()
        except (aiohttp.ClientError, ValueError, OSError, TimeoutError) as error:
            fail(f"no gateway answers at {self._url}: {error or type(error).__name__}")


def tell_void(settings: Settings, collection: str) -> None:
    """Say how many cached answers a change has voided, where that can be known."""
    if count := void_answers(settings, collection):
        answers = "1 cached answer is void, for its" if count == 1 else f"{count} cached answers are void, for their"
        out.print(f"{answers} documents have changed; see: ocho cache list --void", soft_wrap=True)


def void_answers(settings: Settings, collection: str) -> int | None:
    """How many answers in the cache of the running gateway rest on documents of the collection that have changed since.
    None where no gateway answers or there is no admin key: nobody is to wait or fail for it.
    """
    url = os.environ.get("OCHO_URL", "").rstrip("/") or _url_of(settings)
    admin_key = settings.auth.admin_key
    key = os.environ.get("OCHO_ADMIN_KEY") or (admin_key.get_secret_value() if admin_key is not None else "")
    if not key:
        return None
    page = f"{url}/admin/cache/entries?void=true&limit=1&document={quote(collection, safe='')}/"
    try:
        asked = urllib.request.Request(page, headers={"authorization": f"Bearer {key}"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(asked, timeout=PASSING_S) as reply:
            return int(orjson.loads(reply.read())["found"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):  # whoever else may listen on that port
        return None


def _url_of(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"
