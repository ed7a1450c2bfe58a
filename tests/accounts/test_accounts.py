"""Windows of use and the limits on them, on a clock of the test's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounts.accounts import Account, Accounts, Limit
from gateway.accounts.windows import Meter, span_of
from gateway.errors import LimitReached
from gateway.metrics import Metrics

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC).timestamp()


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def accounts(clock: Clock, *limits: Limit) -> Accounts:
    return Accounts([Account("k", "acme", limits)], Metrics(), clock)


def nothing() -> float:
    return 0.0


def test_months_end_where_the_calendar_says() -> None:
    february = span_of("month", NOON)
    assert datetime.fromtimestamp(february.ends, UTC) == datetime(2026, 3, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(span_of("month", february.ends).ends, UTC) == datetime(2026, 4, 1, tzinfo=UTC)
    assert span_of("day", NOON).ends - span_of("day", NOON).begins == 86_400


def test_a_minute_slides() -> None:
    meter = Meter("minute")
    start = span_of("minute", NOON).begins
    meter.count(start + 30).fresh += 100
    assert meter.used(start + 59) == 100
    assert meter.used(start + 60) == 100
    assert meter.used(start + 90) == pytest.approx(50)
    assert meter.used(start + 120) == 0


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(1, 50)), max_size=20), st.floats(1, 200), st.floats(0, 100)
)  # fmt: skip
def test_what_is_promised_to_be_free_is_free_then(uses: list[tuple[float, float]], most: float, later: float) -> None:
    meter, now = Meter("minute"), NOON
    for pause, amount in uses:
        now += pause
        meter.count(now).fresh += amount
    now += later
    wait_s = meter.free_after_s(now, most)
    assert 0 <= wait_s <= 120
    assert (wait_s == 0) == (meter.used(now) < most)
    assert meter.used(now + wait_s + 1e-3) <= most + 1e-6
    assert meter.used(now + meter.empty_after_s(now) + 1e-6) <= 1e-6


def test_requests_beyond_the_limit_are_refused_with_the_time_to_come_back() -> None:
    clock = Clock()
    held = accounts(clock, Limit("requests", "minute", 2))
    assert held.enter("k")["x-ratelimit-remaining-requests"] == "1"
    held.enter("k")
    with pytest.raises(LimitReached) as refused:
        held.enter("k")
    assert (refused.value.status, refused.value.code) == (429, "rate_limit_exceeded")
    assert refused.value.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.value.retry_after_s is not None
    clock.now = NOON + 90  # half of the two slid out
    held.enter("k")
    with pytest.raises(LimitReached):
        held.enter("k")


def test_a_key_without_limits_has_none() -> None:
    held = accounts(Clock(), Limit("requests", "minute", 1))
    for _ in range(3):
        assert held.enter("another") == {}
    assert held.of("another") is None


def test_a_budget_in_money_says_when_it_resets_and_resets() -> None:
    clock = Clock()
    held = accounts(clock, Limit("money", "day", 10.0))
    with held.spending("k", nothing):
        held.spent("k", 1000, 10.5)
    with pytest.raises(LimitReached) as refused, held.spending("k", nothing):
        pass
    assert refused.value.code == "insufficient_quota"
    assert "resets at 2026-03-01 00:00 UTC" in str(refused.value)
    assert refused.value.headers["x-should-retry"] == "false"
    clock.now = datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC).timestamp()
    with held.spending("k", nothing):
        pass


def test_tokens_of_requests_under_way_count_within_the_minute() -> None:
    held = accounts(Clock(), Limit("tokens", "minute", 100))
    with (
        held.spending("k", lambda: 120.0),
        pytest.raises(LimitReached, match="100 tokens per minute"),
        held.spending("k", nothing),
    ):
        pass
    with held.spending("k", nothing):  # it was an estimate, and has ended
        pass


def test_what_others_spent_counts_too() -> None:
    clock = Clock()
    held = accounts(clock, Limit("tokens", "day", 100))
    held.spent("k", 10, 0)
    count = next(iter(held)).meters["tokens", "day"].count(clock.now)
    count.told(10, 95)
    assert (count.value, count.fresh) == (95, 0)
    held.spent("k", 5, 0)
    with pytest.raises(LimitReached), held.spending("k", nothing):
        pass
