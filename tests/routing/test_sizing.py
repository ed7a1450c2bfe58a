from __future__ import annotations

import pytest

from gateway.routing.deployments import Pace
from gateway.routing.sizing import LEAST_TOKENS, Size, size_for, sized


@pytest.mark.parametrize(
    ("left_s", "first_token_s", "tokens_per_s", "sentences"),
    [
        (4.6, 1.4, 18, 1),
        (4.6, 0.6, 65, 3),
        (4.6, 0.3, 200, 12),
        (0.5, 1.4, 18, 1),
        (0.0, 0.0, 0.0, 1),
        (4.6, 0.6, 32, 2),
    ],
)
def test_a_size_fits_the_time_left(left_s: float, first_token_s: float, tokens_per_s: float, sentences: int) -> None:
    size = size_for(left_s, first_token_s, tokens_per_s)
    assert size.sentences == sentences
    assert size.max_tokens >= LEAST_TOKENS


def test_the_wish_stands_before_the_question_and_says_both_languages() -> None:
    body = {"messages": [{"role": "system", "content": "docs"}, {"role": "user", "content": "q"}]}
    messages = sized(body, Size(2, 240))["messages"]
    assert [m["role"] for m in messages] == ["system", "system", "user"]
    assert "at most 2 sentences" in messages[1]["content"]
    assert "2문장 이내" in messages[1]["content"]
    assert len(body["messages"]) == 2


def test_a_smaller_limit_of_the_caller_stays() -> None:
    body = {"messages": [{"role": "user", "content": "q"}]}
    assert sized(body | {"max_tokens": 20}, Size(2, 240))["max_tokens"] == 20
    assert sized(body | {"max_completion_tokens": 999}, Size(2, 240))["max_completion_tokens"] == 240


def test_pace_follows_the_deployment() -> None:
    pace = Pace()
    pace.measured(2.0, 100, 5.0)
    assert (pace.first_token_s, pace.tokens_per_s) == (2.0, 20.0)
    for _ in range(50):
        pace.measured(0.5, 100, 1.0)
    assert pace.first_token_s == pytest.approx(0.5, abs=0.01)
    assert pace.tokens_per_s == pytest.approx(100, abs=1)
