"""How a question arranges its words, and whether two that share words have them the other way round. Pure.

Korean tells by particles who does what to whom (``korean_words``), English by place and prepositions
(``english_words``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeVar

JOINING = frozenset(("", "and", "or"))

T = TypeVar("T")

ACTING = frozenset(("subject", "topic", "also", "only"))  # roles that who does it may have
UNTOLD = frozenset(("", "topic"))  # a dropped particle, or one that may stand for those of the next line
TAKEN = UNTOLD | {"subject", "object", "of", "at"}
LOOSE = frozenset(("", "with", "then"))  # roles that two words may exchange and say the same
DIRECTED = frozenset(("from", "to", "than", "over", "under", "against"))  # English prepositions that none replaces


@dataclass(frozen=True, slots=True)
class Word:
    stem: str
    role: str = ""  # "subject", "from", "than", …: by its particle or preposition; "" where it has none
    under: frozenset[str] = frozenset()  # what governs it alone: "not", "after", "without"


Phrase = tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Arrangement:
    language: str
    words: tuple[Word, ...]  # content words in the order of the text
    between: tuple[str, ...]  # in English: small words before each content word, and after the last
    persons: tuple[tuple[str, str], ...]  # I, we and you in the order of the text: (person, role)
    limits: frozenset[tuple[str, str]] = frozenset()  # (stem, "only" or "also")

    # Made once, since each question is compared many times.
    stems: tuple[str, ...] = field(init=False)
    bag: tuple[str, ...] = field(init=False)  # the stems, sorted
    roles: Mapping[str, str] = field(init=False)  # of the words that stand there once, and of I, we and you
    governed: Mapping[str, frozenset[tuple[int, str]]] = field(init=False)  # marker → places and stems under it

    def __post_init__(self) -> None:
        stems = tuple(word.stem for word in self.words)
        once = Counter(stems) if len(set(stems)) < len(stems) else None
        roles = {word.stem: word.role for word in self.words if once is None or once[word.stem] == 1}
        roles.update(self.persons)
        object.__setattr__(self, "stems", stems)
        object.__setattr__(self, "bag", tuple(sorted(stems)))
        object.__setattr__(self, "roles", roles)
        object.__setattr__(self, "governed", _governed(self.words))


def rearranged(one: Arrangement, other: Arrangement) -> bool:
    """The two share words and plainly have them the other way round, whatever else they say."""
    return (
        _limited_apart(one, other)
        or _roles_exchanged(one.roles, other.roles)
        or _governed_apart(one, other)
        or (one.bag == other.bag and _places_exchanged(one, other))
    )


def alike(one: Arrangement, other: Arrangement) -> bool:
    """Nothing in the arrangement of two questions with the same words makes them two: a particle may be dropped, and
    Korean words may change places if each keeps its particle."""
    if one.limits != other.limits or not _persons_alike(one, other) or one.bag != other.bag:
        return False
    if one.stems == other.stems:
        compatible = _compatible if one.language == "ko" else _replaceable
        return all(
            mine.under == theirs.under and compatible(mine.role, theirs.role)
            for mine, theirs in zip(one.words, other.words, strict=True)
        )
    return one.language == "ko" and _scrambled(_phrases(one), _phrases(other))


def _compatible(role: str, other: str) -> bool:
    return role == other or (role in UNTOLD and other in TAKEN) or (other in UNTOLD and role in TAKEN)


def _replaceable(role: str, other: str) -> bool:
    return role == other or not (role and other and {role, other} & DIRECTED)


def _scrambled(one: Sequence[Phrase], other: Sequence[Phrase]) -> bool:
    """What moved has a particle that tells its role, each another, and the same in both."""
    if len(one) != len(other):
        return False
    mine, theirs = _moved(one, other)
    roles = [phrase[-1].role for phrase in mine]
    return Counter(mine) == Counter(theirs) and "" not in roles and len(set(roles)) == len(roles)


def _phrases(one: Arrangement) -> list[Phrase]:
    """Each word with a particle, and those without one that lead to it."""
    found: list[Phrase] = []
    begun: Phrase = ()
    for word in one.words:
        begun = (*begun, word)
        if word.role:
            found.append(begun)
            begun = ()
    return [*found, begun] if begun else found


def _moved(one: Sequence[T], other: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """Two sequences of one length without what they begin and end with in common."""
    first = next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))
    last = next((i for i, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=True)) if a != b), 0)
    return one[first : len(one) - last], other[first : len(other) - last]


def _limited_apart(one: Arrangement, other: Arrangement) -> bool:
    """정규직만, 정규직도."""
    if not one.limits or not other.limits:
        return False
    theirs = dict(other.limits)
    return any(theirs.get(stem, limit) != limit for stem, limit in one.limits)


def _roles_exchanged(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """팀장이 팀원을, 팀원이 팀장을: two words, each in the other's role."""
    changed = [(one[stem], other[stem]) for stem in one.keys() & other.keys() if one[stem] != other[stem]]
    if len(changed) < 2:
        return False
    told = {
        (mine, theirs)
        for mine, theirs in changed
        if (not {mine, theirs} & LOOSE or {mine, theirs} == {"then", "if"}) and {mine, theirs} - ACTING
    }
    acts = {(_actor(mine), _actor(theirs)) for mine, theirs in told}
    return any((theirs, mine) in acts for mine, theirs in acts)


def _actor(role: str) -> str:
    return "subject" if role in ACTING else role


def _governed_apart(one: Arrangement, other: Arrangement) -> bool:
    """결재 후 구매, 구매 후 결재: what "after" governs in the one stands free in the other, and the reverse."""
    mine, theirs = one.governed, other.governed
    for marker in mine.keys() & theirs.keys():
        if one.stems == other.stems and mine[marker] != theirs[marker]:
            return True
        here, there = ({word for _, word in governed[marker]} for governed in (mine, theirs))
        if not here & there and here <= set(other.stems) and there <= set(one.stems):
            return True
    return False


def _governed(words: Sequence[Word]) -> Mapping[str, frozenset[tuple[int, str]]]:
    under = [(marker, (place, word.stem)) for place, word in enumerate(words) if word.under for marker in word.under]
    return {marker: frozenset(place for other, place in under if other == marker) for marker, _ in under}


def _places_exchanged(one: Arrangement, other: Arrangement) -> bool:
    """The words changed places, and what stands around them did not: the seller sues the buyer."""
    if one.language != "ko" and _person_exchanged(one, other):
        return True
    if one.stems == other.stems:
        return False
    if one.language != "ko":
        return _slots_exchanged(one, other)
    roles = [word.role for word in one.words]
    if roles != [word.role for word in other.words] or not any(roles):
        return False
    mine, theirs = _moved(one.words, other.words)
    listed = len(mine) == 2 and mine[0].role == "with"  # A와 B
    return (Counter(mine) != Counter(theirs) and not listed) or _around(one.words, other.words)


def _slots_exchanged(one: Arrangement, other: Arrangement) -> bool:
    """The seller sues the buyer; USD in KRW; but "card or cash", and "in Seoul in July"."""
    if not any(one.between) or sorted(one.between) != sorted(other.between):
        return False
    if _around(one.words, other.words):
        return True
    slots = [slot for a, b, slot in zip(one.stems, other.stems, one.between, strict=False) if a != b]
    return (
        one.between == other.between
        and not JOINING.issuperset(slots[1:])
        and Counter(one.words) != Counter(other.words)
    )


def _around(one: Sequence[Word], other: Sequence[Word]) -> bool:
    """A M B became B M A. "Card or cash" is only told in another order, and so are "sick days and vacation days":
    there M follows again."""
    stems, others = [word.stem for word in one], [word.stem for word in other]
    mine, theirs = map(list, _moved(stems, others))
    first = next((i for i, (a, b) in enumerate(zip(stems, others, strict=True)) if a != b), 0)
    last = first + len(mine)
    for i, j in combinations(range(1, len(mine)), 2):
        if mine[j:] + mine[i:j] + mine[:i] == theirs:
            middle = tuple(one[first + i : first + j])
            return middle not in (tuple(one[last : last + j - i]), tuple(one[max(0, first - (j - i)) : first]))
    return False


def _person_exchanged(one: Arrangement, other: Arrangement) -> bool:
    """Can I fire my boss, can my boss fire me; can you see what I typed, can I see what you typed."""
    names, others = [person for person, _ in one.persons], [person for person, _ in other.persons]
    if one.stems == other.stems:
        return names != others and sorted(names) == sorted(others)
    mine, theirs = set(one.persons), set(other.persons)
    return any(
        {(person, "subject"), (person, "object")} <= mine ^ theirs
        and len({(person, "subject"), (person, "object")} & mine) == 1
        for person in ("i", "we")
    )


def _persons_alike(one: Arrangement, other: Arrangement) -> bool:
    """Who asks may be left out; where both say it, it is in the same place."""
    mine, theirs = one.persons, other.persons
    if one.language == "ko":
        return not mine or not theirs or set(mine) == set(theirs)
    names, others = [person for person, _ in mine], [person for person, _ in theirs]
    return (sorted(names) != sorted(others) or names == others) and not _person_exchanged(one, other)
