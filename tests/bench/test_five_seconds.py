"""What the five-seconds bench computes from what it saw."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from bench import handbook
from bench.five_seconds.arrivals import Traffic, arrivals_of, follow_ups, repeats
from bench.five_seconds.figures import details, percentile, summary
from bench.five_seconds.page import write
from bench.five_seconds.run import Measured
from bench.five_seconds.traces import SHIPPED, BadTrace, moments
from bench.paths import Outcome
from bench.provider.passages import read_prompt
from bench.provider.truths import Truths, read_rewrites

QUESTIONS = handbook.load()
ASKED = next(q for q in QUESTIONS if q.id == "leave-annual-1")
RIGHT = Outcome(ASKED, "정규직 직원의 연차휴가는 1년에 16일입니다.", "", 2.0, 1.0, served_by="draft")
WRONG = replace(RIGHT, answer="13일입니다.", served_by="model")
FAILED = replace(RIGHT, answer="", error="broke", served_by="")
QUOTED = replace(RIGHT, labelled=True, served_by="quote")


def traffic(requests: int, share: float = 0.4, rate: float = 1.0, trace: Path = SHIPPED) -> Traffic:
    return Traffic(trace, requests, rate, share, seed=5)


def test_every_arrival_counts_and_fallbacks_are_apart() -> None:
    found = summary([RIGHT, replace(RIGHT, seconds=6.0), WRONG, FAILED, QUOTED], 0.5, 5.0, 1.0)
    assert set(found) == {"within_5s", "p50_s", "p95_s", "p99_s", "ttft_p95_s", "wrong", "refused", "spend"}
    assert (found["within_5s"], found["wrong"], found["spend"]) == (0.2, 0.2, 0.5)
    apart = details([RIGHT, QUOTED, FAILED], 5.0, 1.0)
    assert apart["useful_within_5s_with_labelled"] == pytest.approx(2 / 3, abs=1e-4)
    assert set(apart["served_by"]) == {"draft", "quote (labelled)", "error"}


def test_a_scaled_run_reports_unscaled_seconds() -> None:
    assert summary([RIGHT], 1.0, 5.0, 0.1)["p50_s"] == 20.0


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, q) for q in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([3.0], 0.99) == 3.0


def test_the_same_seed_asks_the_same_at_the_same_moments() -> None:
    one, other = (arrivals_of(QUESTIONS, traffic(80)) for _ in range(2))
    assert one == other
    assert 0.25 <= repeats(one) <= 0.55
    assert one[0].at_s == 0.0
    assert one[-1].at_s == pytest.approx(80, rel=0.1)  # 1 a second


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_as_many_repeat_as_were_asked_for(share: float) -> None:
    assert repeats(arrivals_of(QUESTIONS, traffic(150, share))) == pytest.approx(share, abs=0.1)


def test_popularity_is_skewed() -> None:
    asked = [a.question.group for a in arrivals_of(QUESTIONS, traffic(400, 0.6))]
    counts = sorted((asked.count(group) for group in set(asked)), reverse=True)
    assert counts[0] >= 5 * counts[len(counts) // 2]


def test_follow_ups_are_asked_with_what_was_said_before() -> None:
    questions = [*QUESTIONS, *handbook.load(handbook.FOLLOW_UPS)]
    asked = arrivals_of(questions, traffic(150))
    assert 0.05 < follow_ups(asked) < 0.4
    one = next(a.question for a in asked if a.question.turns)
    assert [m["role"] for m in one.messages] == ["user", "assistant", "user"]
    assert one.messages[-1]["content"] == one.text


def test_the_stand_in_understands_the_follow_ups_it_was_told() -> None:
    truths = Truths(rewrites=read_rewrites([handbook.FOLLOW_UPS]))
    plain = {q.group: q for q in QUESTIONS}
    for question in handbook.load(handbook.FOLLOW_UPS):
        prompt = read_prompt(question.messages)
        meant = truths.stands_for(prompt.earlier, prompt.question)
        group = question.group.split("-after-")[0]
        assert meant in [q.text for q in QUESTIONS if q.group == group], question.id
        assert question.facts == plain[group].facts, question.id


def test_the_same_words_after_another_question_are_another_question() -> None:
    truths = Truths(rewrites=read_rewrites([handbook.FOLLOW_UPS]))
    meant = {truths.stands_for(q.turns[0][1], q.text) for q in handbook.load(handbook.FOLLOW_UPS)
             if q.text == "그럼 계약직은요?"}  # fmt: skip
    assert len(meant) >= 4
    assert None not in meant


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text)
    return path


def test_traces_of_others_are_read_too(tmp_path: Path) -> None:
    trace = written(tmp_path, "t_s,prompt_tokens\n0.0,1\n1.0,1\n5.0,2\n")
    assert moments(trace, 5, 0, seed=1) == [0.0, 4.0, 5.0, 9.0, 10.0]  # its own pace: it begins again
    found = moments(trace, 5, 2, seed=1)
    assert found == sorted(found)
    assert found[-1] == pytest.approx(2.5, abs=1.0)


def test_dates_are_times_and_rows_may_come_in_any_column(tmp_path: Path) -> None:
    rows = "tokens,TIMESTAMP\n3,2023-11-16 18:15:46.6805900\n4,2023-11-16 18:15:50.9951690\n5,2023-11-16 18:15:51\n"
    assert moments(written(tmp_path, rows), 2, 0, seed=1) == pytest.approx([0.0, 0.005], abs=0.01)


def test_times_of_a_coarse_clock_are_spread_to_the_next_tick(tmp_path: Path) -> None:
    found = moments(written(tmp_path, "t_s\n0\n0\n0\n3\n3\n3\n6\n"), 6, 0, seed=1)
    assert found == pytest.approx([0, 1, 2, 3, 4, 5])


def test_windows_of_rates_become_arrivals_where_the_rate_is(tmp_path: Path) -> None:
    rows = "window_start_s,total_rate_rps,active_clients\n0,1,1\n600,9,1\n1200,0,1\n"
    found = moments(written(tmp_path, rows), 300, 10, seed=1)
    assert (len(found), found[0]) == (300, 0.0)
    assert found[-1] < 20.0  # nobody in the last of three windows of 10 s
    assert sum(10 <= at < 20 for at in found) == pytest.approx(270, abs=25)


@pytest.mark.parametrize("text", ["", "name\nalice\n", "window_start_s,total_rate_rps\n0,0\n"])
def test_what_is_no_trace_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadTrace):
        moments(written(tmp_path, text), 5, 1, seed=1)


def test_questions_of_others_need_only_what_is_asked_and_the_facts(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"q": "연차는 며칠?", "facts": ["16일"]}\n{"q": "Mars?", "facts": []}\n', encoding="utf-8")
    one, other = handbook.load(path)
    assert (one.lang, one.facts, one.document is not None, other.document) == ("ko", (("16일",),), True, None)
    assert handbook.judge(one, "16일입니다.") == handbook.Verdict.RIGHT
    path.write_text('{"q": "x", "facts": []}\n{"question": "y"}\n', encoding="utf-8")
    with pytest.raises(handbook.BadQuestions, match="line 2"):
        handbook.load(path)


def test_the_page_holds_its_pictures_and_says_how_it_was_made(tmp_path: Path) -> None:
    asked = arrivals_of(QUESTIONS, traffic(4))
    outcomes = [replace(RIGHT, question=a.question, stages={"retrieve": 0.1}) for a in asked]
    spend = {"usd": 1.0, "calls_big": 4.0}
    figures = summary(outcomes, 1.0, 5.0, 0.5)
    run = {"command": "python -m bench five-seconds <x>", "profile": "p", "draft_profile": "d", "requests": 4,
           "repeats": 0.0, "mode": "race", "faults": "on", "seed": 5, "time_scale": 0.5, "deadline_s": 5.0}  # fmt: skip
    result = {"direct": figures, "ocho": figures, "ocho_details": details(outcomes, 5.0, 0.5), "run": run,
              "spend": {"direct": spend, "ocho": spend}}  # fmt: skip
    write(tmp_path, result, Measured(asked, outcomes, outcomes, spend, spend, {}))
    text = (tmp_path / "five-seconds.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "python -m bench five-seconds &lt;x&gt;" in text
    assert "time scale 0.5" in text
    assert (tmp_path / "five-seconds.png").stat().st_size > 10_000
