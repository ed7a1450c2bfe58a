"""``/console``: the page for reviewers. It holds no data: whatever it shows it fetches from ``/admin`` with the admin
key that was typed into it, and keeps in the tab's session alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from aiohttp import web

from gateway.errors import Forbidden, NotFound
from gateway.ingress.auth import KeyRing
from gateway.ingress.caller import OPERATION

FILES = {
    "index.html": "text/html", "console.css": "text/css", "console.js": "text/javascript",
    "words.js": "text/javascript",
}  # fmt: skip
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Console:
    keys: KeyRing

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/console", self.page), web.get("/console/{file:.*}", self.page)]

    async def page(self, http_request: web.Request) -> web.Response:
        http_request[OPERATION] = "admin"
        if not self.keys.operator:
            raise Forbidden(
                "the console is off: no admin key is configured; set auth.admin_key in the configuration",
                code="admin_key_not_configured",
            )
        name = http_request.match_info.get("file") or "index.html"
        if name not in FILES:
            raise NotFound("there is nothing at this path; the console is at /console")
        text = (files(__package__) / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=FILES[name], charset="utf-8", headers=HEADERS)
