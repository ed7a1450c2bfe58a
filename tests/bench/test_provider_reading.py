"""A stand-in that was told what answers a question misreads as often as it is set to, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from bench import handbook
from bench.corpora import CORPORA
from bench.provider.answering import Composed, compose
from bench.provider.config import Faults
from bench.provider.features import is_korean
from bench.provider.passages import Passage, read_prompt
from bench.provider.phrases import polite
from bench.provider.statements import statements
from bench.provider.truths import Gold, read_answers

DOCUMENTS = """Documents:
[doc1] (hb/fees.md · 위약금)
- 위약금은 남은 개월 수에 4,500원을 곱한 금액이다.
- 미납 2개월이면 발신을 정지한다.
[doc2] (hb/other.md)
발신 정지는 30일 안에 풀린다.
</documents>
Question: 요금을 몇 달 밀리면 발신이 정지되나요?"""
GOLD = Gold((("2개월",),), ("30일",), "fees.md")


def answers(gold: Gold | None, faults: Faults, *, steady: bool = False, text: str = DOCUMENTS) -> Sequence[Composed]:
    prompt = read_prompt([{"role": "user", "content": text}])
    return [compose(prompt, Random(seed), faults, 1, steady=steady, gold=gold) for seed in range(400)]


def test_it_takes_the_statement_that_answers_wherever_words_point() -> None:
    assert all("2개월" in one.text for one in answers(GOLD, Faults(phrasings=False)))


def test_it_misreads_at_its_rate_and_doubts_what_it_says_then() -> None:
    given = answers(GOLD, Faults(phrasings=False, misreads=0.2))
    wrong = [one for one in given if "2개월" not in one.text]
    assert 0.12 < len(wrong) / len(given) < 0.28
    assert all(one.doubtful and not one.truth for one in wrong)


def test_the_same_prompt_is_mostly_read_in_the_same_way() -> None:
    given = answers(GOLD, Faults(phrasings=False, misreads=0.5), steady=True)
    wrong = sum("2개월" not in one.text for one in given) / len(given)
    assert wrong < 0.25 or wrong > 0.75


def test_what_nothing_answers_is_refused_at_the_rate_of_its_honesty() -> None:
    given = answers(Gold(()), Faults(phrasings=False, honesty=0.3))
    refused = [one for one in given if "찾을 수 없" in one.text]
    assert 0.2 < len(refused) / len(given) < 0.4
    assert all(one.doubtful for one in given if one not in refused)


def test_a_fact_that_no_passage_states_is_not_known() -> None:
    gone = DOCUMENTS.replace("- 미납 2개월이면 발신을 정지한다.\n", "")
    assert all("찾을 수 없" in one.text for one in answers(GOLD, Faults(phrasings=False), text=gone))


def test_what_it_was_told_of_follow_ups_is_about_what_they_stand_for() -> None:
    known = read_answers([handbook.QUESTIONS, handbook.FOLLOW_UPS])
    assert known["계약직 직원은 연차휴가가 1년에 며칠인가요?"].facts == (("13일",),)


@pytest.mark.parametrize("name", [*CORPORA])
def test_each_fact_stands_in_its_document_as_the_stand_in_says_it(name: str) -> None:
    corpus = CORPORA[name]
    for question in [*handbook.load(corpus.questions), *handbook.load(corpus.follow_ups)]:
        if question.document is None:
            continue
        text = (corpus.documents / question.document).read_text(encoding="utf-8")
        if question.document.endswith(".html"):
            text = "\n".join(part.split("<")[0] for part in text.split(">"))
        gold = Gold(question.facts, question.wrong_facts, question.document)
        said = [s.text for s in statements(Passage("doc1", question.document, text))]
        joined = " ".join(polite(each) if is_korean(each) else each for each in said)
        assert gold.stands_in(joined, siblings_too=True), question.id
