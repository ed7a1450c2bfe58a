"""The document sets that benches ask about, each with its labelled questions.

What is tuned or fitted on one has to hold on the others: they were written apart, each in its own trade's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import handbook

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Corpus:
    documents: Path
    questions: Path
    follow_ups: Path


def _folder(name: str) -> Corpus:
    folder = DATA / name
    return Corpus(folder, folder / "questions.jsonl", folder / "follow_ups.jsonl")


CORPORA = {
    "handbook": Corpus(handbook.FOLDER, handbook.QUESTIONS, handbook.FOLLOW_UPS),
    "mobile": _folder("mobile"),
    "clinic": _folder("clinic"),
}
NOT_DOCUMENTS = ("README.md", "*.jsonl")  # in the folders: they hold the answers
