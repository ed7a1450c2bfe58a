"""Wordings that turned out to ask a reviewed question: their fresh answers stated what the reviewed answer states.

The first asker of such a wording is answered by the model; from then on it gets the reviewed answer. In memory only,
and bounded; a reviewer who wants a wording for good adds it to the record.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway.answers.guarding import signed
from gateway.answers.reviewed import SERVED, Reviewed, spoken
from gateway.answers.shelf import Board
from gateway.cache.decision import Rule, plain
from gateway.cache.features import look
from gateway.cache.learning import LINK_FLOOR
from gateway.chat import AnswerEvent, Closed, Evidence, Neighbor, Opened, Scope, Send, ServedBy
from gateway.facts import Verdict, compare

MOST = 10_000


@dataclass(slots=True)
class Aliases:
    _known: OrderedDict[tuple[Scope, str], str] = field(default_factory=OrderedDict)  # plain wording → intent's id

    def of(self, board: Board, scope: Scope, question: str) -> Reviewed | None:
        """The reviewed question that this wording was found to ask."""
        id = self._known.get((scope, plain(question)))
        return board.by_id.get(id) if id is not None else None

    def learning(self, question: str, near: Sequence[Neighbor], board: Board, rule: Rule, send: Send) -> Send:
        """``send``, and a look at the answer once it went out; ``rule`` hears if it agrees with the reviewed one."""
        opened: Opened | None = None

        def hear(event: AnswerEvent) -> None:
            nonlocal opened
            send(event)
            if isinstance(event, Opened):
                opened = event
            elif isinstance(event, Closed) and opened is not None and _fresh(opened, event):
                evidence = Evidence(opened.citations)
                asyncio.get_running_loop().call_soon(
                    partial(self._learn, question, near, board, rule, event.answer.text, evidence)
                )

        return hear

    def _learn(
        self, question: str, near: Sequence[Neighbor], board: Board, rule: Rule, text: str, evidence: Evidence
    ) -> None:
        """Not so where the two rest on different documents, are in different languages, or cannot be compared."""
        best = look(question, near).best
        if best is None or best.similarity < LINK_FLOOR:
            return
        key = best.question.key
        reviewed = board.by_id[key.digest]
        kept, found = reviewed.texts.get(spoken(question), ""), evidence.dependencies
        if (
            reviewed.status not in SERVED
            or spoken(text) != spoken(kept)
            or not reviewed.documents.items() <= found.items()
        ):
            return
        verdict = compare(signed(kept), signed(text)).verdict
        if verdict is Verdict.UNCLEAR:
            return
        rule.learn(question, near, {key: verdict is Verdict.SAME})
        if verdict is Verdict.SAME:
            self.add(key.scope, question, reviewed)

    def add(self, scope: Scope, question: str, reviewed: Reviewed) -> None:
        """From now on this wording asks the reviewed question."""
        place = (scope, plain(question))
        self._known[place] = reviewed.id
        self._known.move_to_end(place)
        if len(self._known) > MOST:
            self._known.popitem(last=False)


def _fresh(opened: Opened, closed: Closed) -> bool:
    """A whole answer of the configured model, from all its documents."""
    made = opened.served_by in {ServedBy.MODEL, ServedBy.HEDGE} and not opened.labelled and not opened.partial
    return made and closed.answer.finish_reason == "stop"
