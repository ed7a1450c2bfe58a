"""Does the main claim affirm or deny? Negations in the sentence that answers; two of them undo each other. Pure."""

from __future__ import annotations

import re

from gateway.facts.tables import pattern

_YES = re.compile(r"^\s*(?:네|예|그렇습니다|맞습니다|yes|yep|correct|sure|certainly)(?=[\s,.!]|$)")
_NO = re.compile(r"^\s*(?:아니요|아니오|아뇨|아닙니다|no|nope)(?=[\s,.!]|$)(?!\.? ?\d)")
_DENIALS = pattern("denials")
_FALSE_FRIENDS = pattern("false_denials")


def yes_no(text: str) -> bool | None:
    """What a leading yes or no says; None where there is none. ``text`` folded."""
    return True if _YES.match(text) else False if _NO.match(text) else None


def denies(text: str) -> bool:
    """True where the claim denies. "Not possible" denies, "not possible without" affirms."""
    return len(_DENIALS.findall(_FALSE_FRIENDS.sub(" ", text))) % 2 == 1
