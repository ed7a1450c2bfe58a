"""Markdown and plain text → blocks, line by line. Pure."""

from __future__ import annotations

import re
from html import unescape

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, table

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
_SETEXT = re.compile(r"^ {0,3}(=+|-{2,})\s*$")
_ITEM = re.compile(r"^\s*(?:[-*+•·]|\d{1,3}[.)])\s+")
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n(?:---|\.\.\.)\s*(?:\n|\Z)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Bounded: what opens again and again and never closes would else be read to its end each time.
_IMAGE_OR_LINK = re.compile(r"!?\[([^\]\n]{0,300})\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"\n]*\")?\)")
_EMPHASIS = re.compile(r"(\*\*\*|\*\*|\*|`|(?<!\w)(?:___|__|_))(?=\S)(.{1,300}?)(?<=\S)\1")
_TEXT_HEADING = re.compile(
    r"^(?:제\s?\d+\s?[장절조](?:의\d+)?(?:\s|\(|$)|\d{1,2}(?:\.\d{1,2}){0,2}\.?\s+\S|[■□◆○●▶※]\s*\S)"
)


def parse_markdown(text: str) -> Parsed:
    title = ""
    if match := _FRONT_MATTER.match(text):
        text = text[match.end() :]
        if named := re.search(r"^title:\s*[\"']?(.+?)[\"']?\s*$", match.group(1), re.MULTILINE):
            title = named.group(1)
    commented, end, rest = text.rpartition("-->")  # no comment ends after that
    blocks = _blocks((_COMMENT.sub("", commented + end) + rest).splitlines())
    first = next((b.text for b in blocks if isinstance(b, Heading) and b.level == 1), "")
    return Parsed(title or first, tuple(blocks))


def _blocks(lines: list[str]) -> list[Block]:
    blocks: list[Block] = []
    text: list[str] = []
    rows: list[list[str]] = []
    fence = ""

    def flush() -> None:
        if text:
            blocks.append(Paragraph("\n".join(text)))
            text.clear()
        if rows and (found := table(rows)) is not None:
            blocks.append(found)
        rows.clear()

    for line in lines:
        if fence:
            if line.strip().startswith(fence):
                fence = ""
            elif line.strip():
                text.append(line.rstrip())
        elif opened := _FENCE.match(line):
            fence = opened.group(1)
        elif heading := _HEADING.match(line):
            flush()
            blocks.append(Heading(len(heading.group(1)), _plain(heading.group(2))))
        elif _SETEXT.match(line) and len(text) == 1 and not _ITEM.match(text[0]):
            title = text.pop()
            flush()
            blocks.append(Heading(1 if "=" in line else 2, title))
        elif line.lstrip().startswith("|") or (rows and "|" in line):
            if text:
                flush()
            if not _RULE.match(line):
                rows.append(_cells(line))
        elif not line.strip():
            flush()
        else:
            if rows:
                flush()
            _add_line(text, line)
    flush()
    return blocks


def _add_line(text: list[str], line: str) -> None:
    """A wrapped line goes on where the last one ended; an item starts its own."""
    plain = _plain(line.strip().removeprefix(">").strip())
    hard_break = bool(text) and text[-1].endswith(("  ", "\\"))
    if text and not _ITEM.match(line) and not hard_break:
        text[-1] = f"{text[-1].rstrip()} {plain}"
    else:
        text.append(plain)
    if line.endswith(("  ", "\\")):
        text[-1] = text[-1].rstrip("\\") + "  "


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [_plain(cell.replace("\\|", "|").replace("<br>", " ")) for cell in re.split(r"(?<!\\)\|", inner)]


def _plain(text: str) -> str:
    """Text without its markup; link targets go, their words stay."""
    text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    return unescape(text).strip()


def parse_text(text: str) -> Parsed:
    """Plain text: blank lines part paragraphs, a short line that looks like a heading is one."""
    blocks: list[Block] = []
    first = ""
    for part in re.split(r"\n\s*\n", text.replace("\f", "\n\n")):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        if not lines:
            continue
        first = first or lines[0]
        if _is_heading(lines[0], alone=len(lines) == 1, opening=not blocks):
            blocks.append(Heading(1 if not blocks else 2, lines.pop(0)))
        if lines:
            blocks.append(Paragraph("\n".join(lines)))
    title = blocks[0].text if blocks and isinstance(blocks[0], Heading) else (first if len(first) <= 60 else "")
    return Parsed(title, tuple(blocks))


def looks_like_numbered_heading(line: str) -> bool:
    """제3조(연차휴가), 2.1 Travel, ■ 신청 방법: what documents without markup use for headings."""
    return len(line) <= 40 and bool(_TEXT_HEADING.match(line)) and not line.endswith((".", ",", "다", "요", "|"))


def _is_heading(line: str, *, alone: bool, opening: bool) -> bool:
    if len(line) > 60 or line.endswith((".", "?", "!", ",", ":", ";", "다", "요")) or _ITEM.match(line):
        return looks_like_numbered_heading(line)
    return alone or opening or bool(_TEXT_HEADING.match(line))
