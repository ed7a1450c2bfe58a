"""Reading a prompt: the passages in it, the question, how many sentences are wanted (pure).

A passage begins at a line that starts with ``[docN]``; the rest of that line is its title. It runs to the next such
line, to a line with ``</documents>``, or to the end of the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_DOC = re.compile(r"^\[(doc\d+)\][ \t]*(.*)$")
_END = "</documents>"
_EMPTY = re.compile(r"^<documents>\s*$", re.MULTILINE)
_LABEL = re.compile(r"^\s*(?:질문|사용자 질문|question|user question|q)\s*[:：]\s*", re.IGNORECASE)

_WORD_NUMBERS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6},
    **{"한": 1, "두": 2, "세": 3, "네": 4, "다섯": 5},
}
_COUNT = r"(\d+|" + "|".join(_WORD_NUMBERS) + ")"
_LEAD_APART = re.compile(r"paragraph of its own|결론부터 한 문단으로", re.IGNORECASE)
_SENTENCE_LIMITS = (
    re.compile(rf"at most {_COUNT} (?:short )?sentences?", re.IGNORECASE),
    re.compile(rf"in {_COUNT} (?:short )?sentences? or (?:fewer|less)", re.IGNORECASE),
    re.compile(rf"{_COUNT}\s*문장 이내"),
    re.compile(rf"최대 {_COUNT}\s*문장"),
)


@dataclass(frozen=True, slots=True)
class Passage:
    name: str  # "doc3", as it is cited
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What there is to answer, and from what."""

    question: str
    passages: tuple[Passage, ...]
    grounded: bool  # there are documents to answer from, even if they are none
    max_sentences: int | None  # asked for in words, outside the passages; None: no limit
    lead_apart: bool = False  # so was a direct answer in a paragraph of its own
    earlier: str = ""  # the user's question before this one


def read_prompt(messages: Sequence[Mapping[str, Any]]) -> Prompt:
    """Passages of all messages but the assistant's, in order; the question is the last user message's own text."""
    passages: list[Passage] = []
    own_texts: list[str] = []
    earlier, question, grounded = "", "", False
    for message in messages:
        role, text = message.get("role"), text_of(message.get("content"))
        if role not in ("system", "developer", "user"):
            continue
        grounded = grounded or _EMPTY.search(text) is not None
        before, found, after = split_passages(text)
        if role == "user":
            if found and not after and not before:
                found, after = _question_behind(found)
            earlier, question = question, after or before
        passages += found
        own_texts += [before, after]
    own = "\n".join(own_texts)
    return Prompt(
        _LABEL.sub("", question).strip(),
        tuple(passages),
        grounded or bool(passages),
        sentence_limit(own),
        bool(_LEAD_APART.search(own)),
        _LABEL.sub("", earlier).strip(),
    )


def text_of(content: object) -> str:
    """Text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict) and "text" in part)
    return ""


@lru_cache(maxsize=1_000)
def split_passages(text: str) -> tuple[str, tuple[Passage, ...], str]:
    """Text before the first passage, the passages, text after the last (without the documents' own tags)."""
    if "[doc" not in text:
        return text.strip(), (), ""
    before: list[str] = []
    after: list[str] = []
    blocks: list[tuple[str, str, list[str]]] = []
    target = before
    for line in text.splitlines():
        if match := _DOC.match(line):
            blocks.append((match[1], match[2].strip(), []))
            target = blocks[-1][2]
        elif line.startswith(_END):
            target = after
            target.append(line.removeprefix(_END))
        elif not (target is before and line.strip() == "<documents>"):
            target.append(line)
    found = tuple(_passage(name, title, lines) for name, title, lines in blocks)
    return "\n".join(before).strip(), found, "\n".join(after).strip()


def sentence_limit(text: str) -> int | None:
    """The smallest "at most N sentences" in ``text``, in either language; None: there is none."""
    found = [match for pattern in _SENTENCE_LIMITS for match in pattern.findall(text)]
    return min((_WORD_NUMBERS.get(count.lower()) or max(1, int(count)) for count in found), default=None)


def _passage(name: str, title: str, lines: list[str]) -> Passage:
    text = "\n".join(lines).strip()
    if not text and not title.startswith("("):  # the whole passage stands on the line of its mark
        return Passage(name, "", title)
    return Passage(name, title.removeprefix("(").removesuffix(")"), text)


def _question_behind(found: tuple[Passage, ...]) -> tuple[tuple[Passage, ...], str]:
    """No closing tag and nothing before: the last paragraph of the last passage is the question."""
    last = found[-1]
    text, _, question = last.text.rpartition("\n\n")
    if not text:
        return found, ""
    return (*found[:-1], Passage(last.name, last.title, text.strip())), question.strip()
