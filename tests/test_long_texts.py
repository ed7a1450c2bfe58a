"""Whoever may ask may send megabytes of anything. Nothing that looks into texts takes more than linear time: one that
does hangs here, and is ended by pytest's own limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway import facts
from gateway.cache.admission import admissible
from gateway.chat import LONG, Answer, CacheWishes, ChatRequest, Evidence, Message, Passage
from gateway.retrieval.ingest.cut import MOST_SECTION, MOST_TITLE, cut
from gateway.retrieval.quote import quote
from gateway.retrieval.tokens import terms
from gateway.routing.citing import with_citations
from gateway.routing.gate import Draft, judge, shipped, why_unsupported
from gateway.routing.rivals import said_better

LENGTH = 200_000
PIECES = [
    "1", "a", "A", "a-", "a.", "1.", "1,", "1 ", "a1", "가", "제가", "일 ", "-", ".", "_", "@", "a@", " ", "\n", "1월 ",
    "10:00 ", "first, ", "먼저 ", "[doc1]", "【", "**", "👍 ",
]  # fmt: skip
HOSTILE = {piece: (piece * LENGTH)[:LENGTH] for piece in PIECES}
QUESTION = "연차휴가는 며칠인가요?"
ANSWER = "연차휴가는 16일입니다 [doc1]."
PASSAGE = Passage("hr", "leave.md", "1", 0, "휴가", "부여", "정규직의 연차휴가는 1년에 16일이다. 문의: hr@example.com")
EVIDENCE = Evidence((PASSAGE,))


def asked(text: str) -> ChatRequest:
    return ChatRequest("m", (Message("user", text, True, {"role": "user", "content": text}),), False, False, {})


def answered(text: str) -> Answer:
    return Answer(({"message": {"role": "assistant", "content": text}, "finish_reason": "stop"},), "m")


OF_QUESTIONS: dict[str, Callable[[str], object]] = {
    "kept": lambda text: admissible(asked(text), answered(ANSWER), EVIDENCE, CacheWishes()),
    "quoted": lambda text: quote(text, EVIDENCE),
    "judged": lambda text: judge(Draft(ANSWER, "stop"), text, EVIDENCE, shipped()),
    "supported": lambda text: facts.unsupported(ANSWER, [PASSAGE.text], text),
    "rivalled": lambda text: said_better(text, ANSWER, EVIDENCE),
    "cited": lambda text: with_citations("연차휴가는 16일입니다.", text, EVIDENCE),
}
OF_ANSWERS: dict[str, Callable[[str], object]] = {
    "compared": lambda text: facts.compare(facts.signature(text), facts.signature(f"{text} 16일")),
    "supported": lambda text: facts.unsupported(text, [PASSAGE.text], QUESTION),
    "judged": lambda text: judge(Draft(f"{text} [doc1].", "stop"), QUESTION, EVIDENCE, shipped()),
    "coded": lambda text: why_unsupported(text, QUESTION, EVIDENCE),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=map(repr, HOSTILE))
def test_a_text_of_any_length_is_cut_into_terms(text: str) -> None:
    terms(text)


@pytest.mark.parametrize("look", OF_QUESTIONS.values(), ids=OF_QUESTIONS)
def test_a_question_of_any_length_is_looked_into(look: Callable[[str], object]) -> None:
    for text in HOSTILE.values():
        look(asked(text).question)


@pytest.mark.parametrize("look", OF_ANSWERS.values(), ids=OF_ANSWERS)
def test_an_answer_of_any_length_is_looked_into(look: Callable[[str], object]) -> None:
    for text in HOSTILE.values():
        look(text)


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
def test_a_document_without_an_end_to_anything_is_cut(name: str) -> None:
    for piece in ("[", "![", "<!--", "`a ", "**a", "_a", "1. ", "a. ", "[a](", "- ", "| "):
        assert cut(name, b"x" + piece.encode() * (LENGTH // len(piece)) + b" y z", "").pieces


def test_a_heading_of_any_length_is_not_stored_with_every_passage() -> None:
    done = cut("a.md", f"# {'휴가 ' * 50_000}\n\n{'본문이다. ' * 5_000}".encode(), "")
    assert len(done.title) == MOST_TITLE
    assert {len(piece.section) for piece in done.pieces} == {MOST_SECTION}


def test_of_a_long_question_beginning_and_end_are_looked_at() -> None:
    long = f"다음 글을 읽으세요. {'가나다 ' * 2_000} 휴가는 며칠인가요?"
    question = asked(long).question
    assert len(question) == LONG + 1
    assert question.startswith("다음 글을 읽으세요.")
    assert question.endswith("휴가는 며칠인가요?")
    assert asked("짧은 질문").question == "짧은 질문"
