"""HTML → blocks with the standard library. Scripts, styles and navigation are left out. Pure."""

from __future__ import annotations

from html.parser import HTMLParser

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, table

_SKIPPED = {"script", "style", "noscript", "template", "nav", "svg", "head", "iframe", "button", "select"}
_BREAKING = {
    "p", "div", "section", "article", "main", "header", "footer", "aside", "ul", "ol", "dl", "dt", "dd", "li", "pre",
    "blockquote", "figure", "figcaption", "form", "fieldset", "details", "summary", "address", "hr", "body", "caption",
}  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def parse_html(text: str) -> Parsed:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.end()
    first = next((b.text for b in reader.blocks if isinstance(b, Heading) and b.level == 1), "")
    return Parsed(first or " ".join(reader.title.split()), tuple(reader.blocks))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self._in_title = False
        self._skipped = 0  # depth inside elements that are left out
        self._text: list[str] = []
        self._level = 0  # of the heading we are in
        self._rows: list[list[str]] | None = None  # of the table we are in
        self._tables = 0  # nesting; an inner table's cells count as text of the outer one's

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = True
        elif tag in _SKIPPED:
            self._skipped += 1
        elif tag == "table":
            self._start_table()
        elif self._rows is not None:
            self._in_table(tag)
        elif tag in _HEADINGS:
            self._flush()
            self._level = _HEADINGS[tag]
        elif tag == "br":
            self._text.append("\n")
        elif tag in _BREAKING:
            self._flush()
            if tag == "li":
                self._text.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in _SKIPPED:
            self._skipped = max(0, self._skipped - 1)
        elif tag == "table" and self._tables:
            self._tables -= 1
            if not self._tables:
                self._end_table()
        elif self._rows is None and (tag in _HEADINGS or tag in _BREAKING):
            self._flush()

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._skipped:
            return
        elif self._rows is None:
            self._text.append(" ".join(data.split("\n")))
        elif self._rows and self._rows[-1]:
            self._rows[-1][-1] += data
        elif data.strip():
            self._text.append(data)  # a caption

    def end(self) -> None:
        if self._rows is not None:
            self._end_table()
        self._flush()

    def _start_table(self) -> None:
        self._tables += 1
        if self._tables == 1:
            self._flush()
            self._rows = []

    def _in_table(self, tag: str) -> None:
        assert self._rows is not None
        if self._tables > 1:
            return
        if tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"}:
            if not self._rows:
                self._rows.append([])
            self._rows[-1].append("")
        elif tag in _BREAKING or tag == "br":
            self.handle_data(" ")

    def _end_table(self) -> None:
        rows, self._rows, self._tables = self._rows or [], None, 0
        self._flush()
        if (found := table(rows)) is not None:
            self.blocks.append(found)

    def _flush(self) -> None:
        lines = [" ".join(line.split()) for line in "".join(self._text).split("\n")]
        text = "\n".join(line for line in lines if line and line != "-")
        level, self._level = self._level, 0
        self._text.clear()
        if text:
            self.blocks.append(Heading(level, text.replace("\n", " ")) if level else Paragraph(text))
