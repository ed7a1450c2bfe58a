"""The run as one HTML file: the table, and the pairs of wordings whose answers disagree. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from bench.consistency.figures import Asked, agree, paraphrase_pairs
from gateway.facts import compare, signature

SHOWN = 60
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2330}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;border-bottom:1px solid #d8dde6;text-align:right}
td:first-child,th:first-child{text-align:left}.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin:1rem 0;
padding:1rem;background:#f5f7fa;border-radius:.5rem}.right{color:#14713d}.wrong{color:#a8231b}small{color:#5b6474}"""


def page(result: dict[str, Any], direct: Sequence[Asked], ocho: Sequence[Asked]) -> str:
    keys = [key for key, value in result["ocho"].items() if isinstance(value, int | float)]
    rows = "".join(
        f"<tr><td>{escape(key)}</td><td>{result['direct'][key]:g}</td><td>{result['ocho'][key]:g}</td></tr>"
        for key in keys
    )
    evidence = "".join(
        f"<tr><td>{escape(lang)}</td>" + "".join(f"<td>{value:g}</td>" for value in row.values()) + "</tr>"
        for lang, row in result["evidence"].items()
    )
    facts = " · ".join(f"{escape(str(key))} {escape(str(value))}" for key, value in result["run"].items())
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Ocho consistency</title>
<style>{STYLE}</style>
<h1>The same question, the same answer</h1><p><small>{facts}</small></p>
<table><tr><th></th><th>direct</th><th>through Ocho</th></tr>{rows}</table>
<h2>Passages of rephrasings</h2>
<table><tr><th></th><th>pairs</th><th>Jaccard</th><th>same set</th><th>same order of these</th>
<th>any in common</th></tr>{evidence}</table>
<h2>Pairs that disagree through Ocho</h2>{_pairs(ocho)}<h2>Pairs that disagree directly</h2>{_pairs(direct)}</html>
"""


def _pairs(asked: Sequence[Asked]) -> str:
    """Each pair of wordings once, whatever the number of repeats."""
    seen: set[tuple[str, str]] = set()
    shown = []
    for one, other in paraphrase_pairs(asked):
        pair = (one.question.id, other.question.id)
        if pair in seen or agree(one, other):
            continue
        seen.add(pair)
        reasons = ", ".join(compare(signature(one.answer), signature(other.answer)).reasons) or "gold facts"
        shown.append(f'<div class="pair">{_side(one)}{_side(other)}<small>differs in: {escape(reasons)}</small></div>')
    more = f"<p>… and {len(shown) - SHOWN} more</p>" if len(shown) > SHOWN else ""
    return "".join(shown[:SHOWN]) + more or "<p>none</p>"


def _side(ask: Asked) -> str:
    mark = "right" if ask.right else "wrong"
    lead = ask.answer.split("\n\n", 1)[0] or ask.error
    return (
        f"<div><b>{escape(ask.question.text)}</b><p class={mark}>{escape(lead)}</p>"
        f"<small>{mark} · {escape(ask.cache or 'direct')}</small></div>"
    )
