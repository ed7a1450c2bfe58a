"""Which language a question is in, as far as its script tells. Pure."""

from __future__ import annotations

import re

HANGUL = re.compile(r"[가-힣]")
_SCRIPTS = (  # first match wins: one Hangul syllable makes "VPN 접속 안 됨" Korean
    ("ko", re.compile(r"[가-힣ᄀ-ᇿㄱ-ㆎ]")),
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("cyrillic", re.compile(r"[\u0400-\u04ff]")),
    ("arabic", re.compile(r"[\u0600-\u06ff]")),
    ("latin", re.compile(r"[A-Za-z\u00c0-\u024f]")),
)


def language(text: str) -> str:
    """``ko``, ``ja``, ``zh``, ``cyrillic``, ``arabic``, ``latin`` or ``other``."""
    if text.isascii():
        return "latin" if _SCRIPTS[-1][1].search(text) else "other"
    return next((name for name, script in _SCRIPTS if script.search(text)), "other")
