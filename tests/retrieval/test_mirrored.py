from __future__ import annotations

import pytest

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.sources.mirrored import MirroredSource
from tests.retrieval.fakes import ScriptedSource, no_vector, passage


async def ask(*places: ScriptedSource) -> list[Passage]:
    return await MirroredSource(places).search(Search("연차", 3, frozenset(), no_vector), Deadline.after(5))


async def test_the_first_answer_wins_and_the_others_are_let_go() -> None:
    quick = ScriptedSource("hr", [passage("quick.md")])
    slow, hung = ScriptedSource("hr", [passage("slow.md")], delay_s=2), ScriptedSource("hr", [], delay_s=None)
    assert [p.document for p in await ask(hung, slow, quick)] == ["quick.md"]
    assert (hung.cancelled, slow.cancelled) == (1, 1)


async def test_a_failed_place_is_made_good_by_another() -> None:
    down = ScriptedSource("hr", OSError("down"))
    assert [p.document for p in await ask(down, ScriptedSource("hr", [passage("a.md")], delay_s=0.01))] == ["a.md"]


async def test_when_all_fail_so_does_the_collection() -> None:
    with pytest.raises(OSError, match="later"):
        await ask(ScriptedSource("hr", OSError("down")), ScriptedSource("hr", OSError("later"), delay_s=0.01))
