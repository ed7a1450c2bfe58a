"""Which deployment is asked first, and what its calls say of its health."""

from __future__ import annotations

from collections.abc import Callable

from gateway.chat import Deployment
from gateway.routing.deployments import (
    FAILURES_TO_SET_ASIDE,
    FORGIVEN_S,
    LONGEST_ASIDE_S,
    OUTCOMES,
    PROBE_S,
    SET_ASIDE_S,
    Health,
)
from gateway.routing.policy import BAND, rank


def health(name: str, first_token_s: float = 0.0, in_flight: int = 0, failures: int = 0, aside_until: float = 0.0
           ) -> Health:  # fmt: skip
    return Health(
        Deployment(name, "openai", "http://h", ""), first_token_s=first_token_s, in_flight=in_flight,
        failures=failures, aside_until=aside_until, failed_at=0.0 if failures else float("-inf"),
    )  # fmt: skip


def names(ranked: list[Health]) -> list[str]:
    return [h.deployment.name for h in ranked]


def draws(*numbers: int) -> Callable[[int], int]:
    left = list(numbers)
    return lambda n: left.pop(0) % n


def answered(one: Health, began: float, seconds: float) -> None:
    """A call that gave its first token after ``seconds`` and ended well."""
    call = one.started(began)
    one.answered(call, began + seconds)
    one.succeeded()
    one.ended(call, 1.0)


def set_aside(one: Health, now: float = 0.0) -> None:
    for _ in range(FAILURES_TO_SET_ASIDE):
        one.failed(now)


def test_the_better_of_two_drawn_goes_first_and_the_rest_in_order() -> None:
    candidates = [health("slow", 3.0), health("quick", 0.5), health("busy", 0.5, in_flight=2)]
    assert names(rank(candidates, 0.0, draws(0, 1))) == ["busy", "quick", "slow"]  # slow and busy were drawn
    assert names(rank(candidates, 0.0, draws(1, 0))) == ["quick", "busy", "slow"]


def test_the_worst_of_all_is_never_drawn_first() -> None:
    candidates = [health("slow", 3.0), health("a", 0.5), health("b", 0.6)]
    firsts = {names(rank(candidates, 0.0, draws(i, j)))[0] for i in range(3) for j in range(2)}
    assert firsts == {"a", "b"}


def test_a_hot_deployment_is_left_out_however_quick_it_was() -> None:
    candidates = [health("hot", 0.1, in_flight=9), health("a", 2.0, in_flight=1), health("b", 2.0, in_flight=2)]
    assert names(rank(candidates, 0.0, draws(0, 0)))[0] == "a"
    assert names(rank(candidates, 0.0, draws(0, 0)))[-1] == "hot"


def test_half_of_the_room_is_kept_for_those_who_wait() -> None:
    quiet, busy, aside = health("q", in_flight=4), health("b", in_flight=5), health("a", aside_until=9.0)
    for one in (quiet, busy):
        assert one.roomy(0.0)  # no limit is known
        one.limit.learned = 8.0
    assert [one.roomy(0.0) for one in (quiet, busy, aside)] == [True, False, False]


def test_the_same_prompt_goes_to_the_same_deployment_while_that_is_about_as_good() -> None:
    candidates = [health(name, 1.0) for name in "abcd"]
    homes = {
        prefix: {names(rank(candidates, 0.0, draws(i, j), prefix))[0] for i in range(4) for j in range(3)}
        for prefix in (b"system prompt %d" % n for n in range(20))
    }
    assert all(len(found) == 1 for found in homes.values())
    assert len(set().union(*homes.values())) > 1  # different prompts spread
    [home] = homes[b"system prompt 1"]
    next(h for h in candidates if h.deployment.name == home).first_token_s = 1.01 * BAND
    assert names(rank(candidates, 0.0, draws(0, 0), b"system prompt 1"))[0] != home


def test_those_set_aside_go_last_soonest_back_first() -> None:
    candidates = [health("late", aside_until=90.0), health("soon", aside_until=20.0), health("fit", 9.0)]
    assert names(rank(candidates, 10.0, draws(0, 0))) == ["fit", "soon", "late"]
    assert names(rank(candidates[:2], 10.0, draws())) == ["soon", "late"]


def test_a_deployment_that_failed_goes_behind_others_and_is_forgiven_in_time() -> None:
    candidates = [health("failed", 0.1, failures=1), health("fine", 5.0)]
    assert names(rank(candidates, 0.0, draws(0, 0))) == ["fine", "failed"]
    assert names(rank(candidates, FORGIVEN_S, draws(0, 0))) == ["failed", "fine"]


def test_failures_in_a_row_set_aside_and_one_success_forgives() -> None:
    one = health("d")
    for _ in range(FAILURES_TO_SET_ASIDE):
        assert one.state(0.0) == 0
        one.failed(0.0)
    assert one.state(SET_ASIDE_S - 1) == 2
    assert one.state(SET_ASIDE_S + 1) == 1
    answered(one, SET_ASIDE_S + 1, 0.5)
    assert one.state(SET_ASIDE_S + 2) == 0


def test_one_probe_at_a_time_goes_before_all_others() -> None:
    back, fine = health("back"), health("fine", 0.1)
    set_aside(back)
    now = SET_ASIDE_S + 1
    assert names(rank([fine, back], now, draws())) == ["back", "fine"]
    back.started(now)
    assert not back.has_room(now)
    assert names(rank([fine, back], now, draws())) == ["fine", "back"]
    assert back.has_room(now + PROBE_S)  # one that never ends does not keep it away for ever


def test_a_probe_that_talks_lets_others_come_and_one_that_fails_doubles_the_wait() -> None:
    one = health("d")
    set_aside(one)
    now = SET_ASIDE_S + 1
    call = one.started(now)
    one.answered(call, now + 0.5)
    assert one.has_room(now + 0.5)
    one.failed(now + 1)  # it stopped in the middle
    assert one.state(now + 1.1) == 2
    again = now + 1 + SET_ASIDE_S
    one.started(again)
    one.failed(again)
    assert one.aside_until - again == 2 * SET_ASIDE_S
    for _ in range(9):
        one.failed(one.aside_until)
    assert one.aside_s == LONGEST_ASIDE_S


def test_every_other_call_failing_sets_aside_though_never_three_in_a_row() -> None:
    one = health("d")
    for n in range(OUTCOMES):
        assert one.state(0.0) == 0
        if n % 2:
            one.failed(0.0)
        else:
            answered(one, 0.0, 0.1)
    assert one.state(0.0) == 2


def test_retry_after_sets_aside_at_once_and_is_never_shortened() -> None:
    one = health("d")
    one.failed(0.0, 30.0)
    one.failed(1.0, 2.0)
    assert (one.state(29.0), one.state(31.0)) == (2, 0)
    one.succeeded()  # a call that was under way: the provider's word still holds
    assert one.state(29.0) == 2


def test_the_word_of_a_provider_is_tested_again_at_once_where_the_test_was_hung_up_on() -> None:
    one = health("d")
    one.failed(0.0, 30.0)
    assert not one.tested(0.1)
    assert one.tested(1.0)
    call = one.started(1.0)
    assert one.under_test
    assert not one.tested(1.1)  # one at a time
    one.ended(call, 1.1)
    assert one.tested(1.15)
    call = one.started(1.15)
    one.failed(1.2, 30.0)  # it means it
    one.ended(call, 1.2)
    assert not one.under_test
    assert not one.tested(1.3)
    assert one.tested(2.0)
    call = one.started(2.0)
    one.answered(call, 2.5)
    assert one.state(2.5) == 0


def test_a_slow_first_token_counts_at_once_and_fades() -> None:
    one = health("d")
    answered(one, 0.0, 1.0)
    answered(one, 1.0, 5.0)
    assert one.first_token_s == 5.0
    answered(one, 7.0, 1.0)
    soon = one.first_token_s
    answered(one, 60.0, 1.0)
    assert 1.0 <= one.first_token_s < soon < 5.0


def test_a_call_that_waits_longer_than_usual_is_news_before_it_ends() -> None:
    one = health("d")
    answered(one, 0.0, 0.5)
    one.started(1.0)
    assert one.expected_s(1.2) == 0.5
    assert one.expected_s(9.0) == 8.0


def test_one_that_nobody_asks_any_more_is_tried_again_in_time() -> None:
    slow, fine = health("slow"), health("fine")
    answered(slow, 0.0, 8.0)
    for second in range(60):
        answered(fine, float(second), 1.0)
    assert slow.expected_s(9.0) > 1.0
    assert slow.expected_s(60.0) < fine.expected_s(60.0)


def test_a_call_given_up_while_others_were_answered_says_nothing_against_the_deployment() -> None:
    one = Health(Deployment("a", "openai", "", ""))
    waits = one.started(0.0)
    assert not one.in_line(waits)
    answered(one, 1.0, 0.5)
    assert one.in_line(waits)
    late = one.started(2.0)
    assert not one.in_line(late)  # nobody has been answered since it began


def test_a_call_hung_up_on_before_it_said_anything_tells_how_slow_a_deployment_is() -> None:
    one = Health(Deployment("a", "openai", "", ""))
    answered(one, 0.0, 0.5)
    one.ended(one.started(10.0), 13.0)  # a hedge was quicker
    assert one.first_token_s == 3.0
    one.ended(one.started(20.0), 20.1)  # its caller left early, which says nothing
    assert one.first_token_s == 3.0
