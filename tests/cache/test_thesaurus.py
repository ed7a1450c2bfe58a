"""What is said by another word, and what is another thing of the same kind."""

from __future__ import annotations

import itertools
from collections import defaultdict
from importlib.resources import files

import pytest

from gateway.cache.facets import facets, veto
from gateway.cache.lexical import surface
from gateway.cache.sides import apart
from gateway.cache.thesaurus import Thesaurus, _lines, meaning, unsaid

SAID_OTHERWISE = [
    ("How do I remove a user?", "How do I delete a user?"),
    ("Where do I buy a mobile?", "Where do I purchase a cell phone?"),
    ("휴대폰 요금 어떻게 내?", "핸드폰 요금 어떻게 내?"),
    ("화면 밝기 변경하는 법", "화면 밝기 바꾸는 법"),
]
OF_ONE_KIND = [
    ("How do I cancel my flight?", "How do I cancel my hotel?"),
    ("how long is the flight from london to edinburgh?", "how long is the flight from london to manchester?"),
    ("여권 재발급 어떻게 해?", "운전면허증 재발급 어떻게 해?"),
    ("세탁기수리 신청하고 싶어요", "냉장고 수리 신청하고 싶어요"),
]


def left(one: str, other: str) -> set[str]:
    mine, theirs = surface(one).words, surface(other).words
    own, its = facets(one).meaning, facets(other).meaning
    return {*unsaid(mine - theirs, own, its), *unsaid(theirs - mine, its, own)}


@pytest.mark.parametrize(("one", "other"), SAID_OTHERWISE)
def test_a_synonym_says_the_same(one: str, other: str) -> None:
    assert surface(one).words != surface(other).words
    assert not left(one, other)
    assert not veto(facets(one), facets(other))


@pytest.mark.parametrize(("one", "other"), OF_ONE_KIND)
def test_two_things_of_a_kind_are_two_questions(one: str, other: str) -> None:
    assert left(one, other)
    assert veto(facets(one), facets(other)) == veto(facets(other), facets(one)) == "kind"


def test_only_what_each_names_alone_tells_them_apart() -> None:
    both = meaning("pay by visa or by mastercard", "latin").kinds
    assert not apart(meaning("pay by visa", "latin").kinds, both)
    assert apart(meaning("pay by visa", "latin").kinds, meaning("pay by mastercard", "latin").kinds)


def test_the_longest_entry_counts() -> None:
    thesaurus = Thesaurus("card / gift card|voucher / key\n교통카드 / 교통")
    assert thesaurus.meaning("a gift card", "latin").kinds == {0: {1}}
    assert thesaurus.meaning("my cards", "latin").kinds == {0: {0}}
    assert thesaurus.meaning("a gift", "latin").kinds == {}
    assert thesaurus.meaning("교통 카드를", "ko").kinds == {1: {0}}
    assert thesaurus.meaning("교통은", "ko").kinds == {1: {1}}


def test_a_compound_is_said_only_where_all_of_its_parts_are() -> None:
    thesaurus = Thesaurus("", "휴대폰|핸드폰\n요금|비용\n분실")
    mine, paid, lost = (thesaurus.meaning(text, "ko") for text in ("휴대폰요금", "핸드폰 비용", "핸드폰 분실"))
    assert not list(unsaid(["휴대폰요금"], mine, paid))
    assert list(unsaid(["휴대폰요금"], mine, lost)) == ["휴대폰요금"]


def test_a_word_that_merely_begins_like_an_entry_is_none() -> None:
    assert Thesaurus("전화 / 문자").meaning("전화기가", "ko").kinds == {}


def test_no_line_of_kinds_has_a_word_or_its_synonym_on_two_sides() -> None:
    kinds, synonyms = (
        list(_lines((files("gateway.cache") / name).read_text(encoding="utf-8")))
        for name in ("kinds.txt", "synonyms.txt")
    )
    meanings: defaultdict[str, set[int]] = defaultdict(set)
    for number, words in enumerate(itertools.chain.from_iterable((*kinds, *synonyms))):
        for word in words:
            meanings[word].add(number)
    for line in kinds:
        assert len(line) > 1
        for one, other in itertools.combinations(line, 2):
            assert not any(meanings[a] & meanings[b] for a in one for b in other), (one, other)
