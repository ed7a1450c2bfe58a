from __future__ import annotations

import json
from pathlib import Path

from bench.hits import main


def test_hits_are_timed_against_a_real_gateway(tmp_path: Path) -> None:
    assert main(["--limit", "3", "--json", str(tmp_path / "hits.json")]) == 0
    kinds = json.loads((tmp_path / "hits.json").read_text(encoding="utf-8"))["kinds"]
    assert kinds["miss (provider without delay)"]["n"] >= 3
    assert kinds["exact"]["n"] == 3
    assert 0 < kinds["exact"]["p50_ms"] <= kinds["exact"]["p99_ms"]
