"""Who answers, as a table: the state of the draft, of the big model, and whether the time is up. Pure."""

from __future__ import annotations

from enum import StrEnum

from gateway.routing.contender import Big


class Draft(StrEnum):
    RUNNING = "running"
    DUE = "due"  # running for longer than three in four do
    LATE = "late"  # running for longer than six in seven do
    PASSED = "passed"
    USABLE = "usable"  # below the bar, above the lower one: to be given with a label, when time is up
    FAILED = "failed"  # refused by the gate, an error, or there is none


class Time(StrEnum):
    LEFT = "left"
    UP = "up"  # RESERVE_S before the promise, or nobody is left who could answer
    OVER = "over"  # the promise could not be kept: whoever comes first


class Move(StrEnum):
    WAIT = "wait"
    START = "start the big model"
    BIG = "commit the big model"
    DRAFT = "commit the draft"
    LADDER = "the best there is, labelled"
    NONE = "say that the documents do not answer it"
    FAIL = "give the big model's error"


_W, _S, _B, _D, _L, _F = Move.WAIT, Move.START, Move.BIG, Move.DRAFT, Move.LADDER, Move.FAIL
_ROWS: dict[tuple[Time, Draft], tuple[Move, ...]] = {
    # time       draft            big: idle  running  talking  sure  done  failed  refused
    (Time.LEFT, Draft.RUNNING): (_W, _W, _W, _W, _B, _W, _W),
    (Time.LEFT, Draft.DUE): (_W, _W, _W, _B, _B, _W, _W),
    (Time.LEFT, Draft.LATE): (_S, _W, _B, _B, _B, _W, _F),
    (Time.LEFT, Draft.PASSED): (_D, _D, _D, _D, _B, _D, _D),
    (Time.LEFT, Draft.USABLE): (_S, _W, _B, _B, _B, _L, _L),
    (Time.LEFT, Draft.FAILED): (_S, _W, _B, _B, _B, _L, _F),
    (Time.UP, Draft.RUNNING): (_L, _L, _B, _B, _B, _L, _F),
    (Time.UP, Draft.DUE): (_L, _L, _B, _B, _B, _L, _F),
    (Time.UP, Draft.LATE): (_L, _L, _B, _B, _B, _L, _F),
    (Time.UP, Draft.PASSED): (_D, _D, _D, _D, _B, _D, _D),
    (Time.UP, Draft.USABLE): (_L, _L, _B, _B, _B, _L, _L),
    (Time.UP, Draft.FAILED): (_L, _L, _B, _B, _B, _L, _F),
    (Time.OVER, Draft.RUNNING): (_S, _W, _B, _B, _B, _W, _F),
    (Time.OVER, Draft.DUE): (_S, _W, _B, _B, _B, _W, _F),
    (Time.OVER, Draft.LATE): (_S, _W, _B, _B, _B, _W, _F),
    (Time.OVER, Draft.PASSED): (_D, _D, _D, _D, _B, _D, _D),
    (Time.OVER, Draft.USABLE): (_S, _W, _B, _B, _B, _F, _F),
    (Time.OVER, Draft.FAILED): (_S, _W, _B, _B, _B, _F, _F),
}
MOVES = {(time, draft, big): row[n] for (time, draft), row in _ROWS.items() for n, big in enumerate(Big)}
