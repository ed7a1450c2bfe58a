"""Do two answers state the same facts? Pure; no model, no network, about a millisecond.

Same: what each one's answering sentence states, the other one states too, and nothing speaks against it. Different:
they contradict each other. Unclear: one says less, or nothing that could be compared. Callers take "unclear" for a no
where a false yes would do harm (aliases), and for a yes where a false alarm would (flips).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from gateway.facts.quantities import Quantity, comparable, equal
from gateway.facts.signature import Facts, FactSignature, signature
from gateway.facts.words import overlap, unshared

SHARED_WITH_FACTS = 0.2  # words of the shorter answer found in the longer one, where a quantity or a code agrees too
_DURATIONS = frozenset({"minute", "day", "workday", "month"})
SHARED_ALONE = 0.65  # … where nothing else does


class Verdict(StrEnum):
    SAME = "same"
    DIFFERENT = "different"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Comparison:
    verdict: Verdict
    reasons: tuple[str, ...] = ()  # kinds of fact that differ, or why it is unclear


def same_facts(one: str, other: str) -> bool:
    return compare(signature(one), signature(other)).verdict is Verdict.SAME


def compare(one: FactSignature, other: FactSignature) -> Comparison:
    """Whether two answers to one question agree. Symmetric."""
    if one.text == other.text:
        return Comparison(Verdict.SAME if one.text else Verdict.UNCLEAR, () if one.text else ("empty",))
    if one.refuses or other.refuses:
        return (
            Comparison(Verdict.SAME) if one.refuses and other.refuses else Comparison(Verdict.DIFFERENT, ("refusal",))
        )
    against = _contradictions(one, other)
    if against:
        return Comparison(Verdict.DIFFERENT, tuple(against))
    doubts = _doubts(one, other)
    return Comparison(Verdict.UNCLEAR, tuple(doubts)) if doubts else Comparison(Verdict.SAME)


def _contradictions(one: FactSignature, other: FactSignature) -> list[str]:
    found = []
    mine, theirs = missing(one.lead, other.whole), missing(other.lead, one.whole)
    if (
        any(comparable(a, b) or {a.kind, b.kind} <= _DURATIONS for a in mine for b in theirs)
        or _answered_otherwise(mine, one, other)
        or _answered_otherwise(theirs, other, one)
    ):
        found.append("numbers")
    if _swapped(one.lead, other.lead):
        found.append("what the numbers are of")
    if _apart(one.lead.codes - other.whole.codes, other.lead.codes - one.whole.codes):
        found.append("codes")
    if _exclusive(one, other):
        found.append("names")
    if one.lead.rates and other.lead.rates and not one.lead.rates & other.lead.rates:
        found.append("rates")
    if None not in (one.yes_no, other.yes_no) and one.yes_no != other.yes_no:
        found.append("yes or no")
    elif one.denies != other.denies and _about_the_same(one, other):
        found.append("polarity")
    if _reordered(one.steps, other.steps):
        found.append("order")
    return found


def missing(lead: Facts, whole: Facts) -> list[Quantity]:
    """Quantities of an answering sentence that the other text does not state."""
    left = list(whole.quantities)
    lost = []
    for quantity in lead.quantities:
        match = next((q for q in left if equal(quantity, q)), None)
        if match is None:
            if not any(equal(quantity, q) for q in whole.quantities):  # said twice is no other fact
                lost.append(quantity)
        else:
            left.remove(match)
    return lost


def _answered_otherwise(lost: list[Quantity], one: FactSignature, other: FactSignature) -> bool:
    """All that one states is lost, and the other states another value of the same kind in its answer."""
    return (
        bool(lost)
        and len(lost) == len(one.lead.quantities)
        and any(a.kind == b.kind and a.kind for a in lost for b in other.lead.quantities)
    )


def _swapped(one: Facts, other: Facts) -> bool:
    """Two quantities of one kind stand for each other's things: lodging 120 and meals 30, or the other way round."""
    for i, j in combinations(range(len(one.quantities)), 2):
        if one.quantities[i].kind != one.quantities[j].kind or equal(one.quantities[i], one.quantities[j]):
            continue
        at = [[k for k, q in enumerate(other.quantities) if equal(one.quantities[n], q)] for n in (i, j)]
        if [len(found) for found in at] != [1, 1]:
            continue
        mine, theirs = (one.about[i], one.about[j]), (other.about[at[0][0]], other.about[at[1][0]])
        straight = len(mine[0] & theirs[0]) + len(mine[1] & theirs[1])
        crossed = len(mine[0] & theirs[1]) + len(mine[1] & theirs[0])
        if crossed > straight:
            return True
    return False


def _apart(mine: frozenset[str], theirs: frozenset[str]) -> bool:
    return bool(mine) and bool(theirs)


def _exclusive(one: FactSignature, other: FactSignature) -> bool:
    """Some group has both answering sentences name concepts, and each one that the other nowhere names."""
    for group, mine in one.lead.concepts.items():
        theirs = other.lead.concepts.get(group)
        if (
            theirs
            and mine - other.whole.concepts.get(group, frozenset())
            and theirs - one.whole.concepts.get(group, frozenset())
        ):
            return True
    return False


def _about_the_same(one: FactSignature, other: FactSignature) -> bool:
    if one.korean != other.korean:
        return True
    return overlap(one.lead.words, other.lead.words) >= 0.5 or not missing(one.lead, other.whole)


def _reordered(one: tuple[frozenset[str], ...], other: tuple[frozenset[str], ...]) -> bool:
    """The same steps in another order."""
    if len(one) < 2 or len(other) < 2:
        return False
    places = []
    for step in one:
        shared = [len(step & theirs) / (len(step | theirs) or 1) for theirs in other]
        best = max(range(len(other)), key=shared.__getitem__)
        if shared[best] >= 0.4:
            places.append(best)
    return len(places) >= 2 and places != sorted(places)


def _doubts(one: FactSignature, other: FactSignature) -> list[str]:
    found = []
    if missing(one.lead, other.whole) or missing(other.lead, one.whole):
        found.append("numbers")
    if (one.lead.codes - other.whole.codes) or (other.lead.codes - one.whole.codes):
        found.append("codes")
    if _named_by_one(one, other):
        found.append("names")
    if one.denies != other.denies:
        found.append("polarity")
    if found:
        return found
    shared = sum(any(equal(q, other_q) for other_q in other.lead.quantities) for q in one.lead.quantities)
    agreed = shared > 0 or bool(one.lead.codes & other.lead.codes)
    if one.korean != other.korean:
        return [] if agreed or _shared_concepts(one, other) else ["language"]
    if shared > 1 or _shared_concepts(one, other) > 1 or (one.steps and len(one.steps) == len(other.steps)):
        return []
    if agreed:
        kept = max(_kept(a.lead.words, unshared(a.lead.words, b.whole.words)) for a, b in ((one, other), (other, one)))
        return [] if kept >= SHARED_WITH_FACTS else ["words"]
    lost, gained = unshared(one.lead.words, other.whole.words), unshared(other.lead.words, one.whole.words)
    if lost and gained:
        enough = min(_kept(one.lead.words, lost), _kept(other.lead.words, gained)) >= SHARED_ALONE
        return [] if enough and _shared_concepts(one, other) else ["words"]
    most = max(_kept(one.lead.words, lost), _kept(other.lead.words, gained))
    return [] if most >= SHARED_ALONE and one.lead.words and other.lead.words else ["words"]


def _kept(words: frozenset[str], lost: frozenset[str]) -> float:
    return 1 - len(lost) / len(words) if words else 1.0


_TELLING = frozenset(
    {"team", "boss", "staff", "pay", "price", "weekday", "card", "doc", "kin", "plan", "class", "cycle"}
)


def _named_by_one(one: FactSignature, other: FactSignature) -> bool:
    """A concept of a telling group that only one answering sentence names and the other text nowhere does."""
    for mine, theirs in ((one, other), (other, one)):
        for group, concepts in mine.lead.concepts.items():
            if (
                group in _TELLING
                and concepts - theirs.whole.concepts.get(group, frozenset())
                and theirs.lead.concepts.get(group)
            ):
                return True
    return False


def _shared_concepts(one: FactSignature, other: FactSignature) -> int:
    """Groups in which both answering sentences name the same."""
    return sum(bool(mine & other.lead.concepts.get(group, frozenset())) for group, mine in one.lead.concepts.items())
