"""Reading a prompt and answering from it: pure, no server."""

import unicodedata
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from bench.provider.answering import Composed, compose
from bench.provider.config import FAULTLESS, Faults
from bench.provider.generation import Task, generate
from bench.provider.logprobs import token_logprobs
from bench.provider.mistakes import replace_fact, wrong_version
from bench.provider.passages import Prompt, read_prompt, sentence_limit
from bench.provider.profiles import PROFILES
from bench.provider.records import Fault
from bench.provider.tokens import count_tokens, tokenize

DOCUMENTS = """아래 문서만 보고 답하고 [docN]으로 출처를 밝히세요.
<documents>
[doc1] (hr/annual-leave.md · 연차휴가 > 부여 일수)
- 정규직 직원의 연차휴가는 1년에 16일이다.
- 정규직 직원이 쓰지 못한 연차는 최대 6일까지 다음 해로 이월할 수 있다.
[doc2] (hr/annual-leave-contract.md · 계약직 연차)
계약직 직원의 연차휴가는 1년에 13일이다. 신청은 휴가 5영업일 전까지 한다.
[doc3] (travel/domestic.md · 숙박비)
| 직급 | 숙박비 한도 | 일비 |
|---|---|---|
| 과장 | 12만 원 | 3만 원 |
| 임원 | 20만 원 | 5만 원 |
[doc4] (travel/travel-booking-en.md · Flights)
International flights must be booked at least 18 days before departure. The meal allowance is USD 45 per day.
</documents>
"""


def ask(question: str, *, system: str = DOCUMENTS) -> Prompt:
    return read_prompt([{"role": "system", "content": system}, {"role": "user", "content": question}])


def answer(question: str, faults: Faults = FAULTLESS, seed: int = 0, length: int = 60) -> Composed:
    return compose(ask(question), Random(seed), faults, length, steady=False)


def test_a_model_may_leave_its_citations_out() -> None:
    messages = [{"role": "system", "content": DOCUMENTS}, {"role": "user", "content": "정규직 연차휴가는 며칠인가요?"}]

    def said(faults: Faults) -> str:
        return generate(Task(messages, {}, None, None, PROFILES["instant"], faults), Random(0)).text

    assert "[doc1]" in said(FAULTLESS)
    assert said(replace(FAULTLESS, cites=False)) == said(FAULTLESS).replace(" [doc1]", "").replace(" [doc2]", "")


def test_passages_title_and_question_are_read_from_a_system_prompt() -> None:
    prompt = ask("연차는 며칠인가요?")
    assert [passage.name for passage in prompt.passages] == ["doc1", "doc2", "doc3", "doc4"]
    assert prompt.passages[0].title == "hr/annual-leave.md · 연차휴가 > 부여 일수"
    assert prompt.passages[1].text.startswith("계약직 직원의")
    assert prompt.question == "연차는 며칠인가요?"


@pytest.mark.parametrize(
    "content",
    [
        "[doc1]\n연차는 16일이다.\n</documents>\n질문: 연차는 며칠인가요?",
        "[doc1]\n연차는 16일이다.\n\n연차는 며칠인가요?",
        "연차는 며칠인가요?\n\n[doc1]\n연차는 16일이다.",
        [
            {
                "type": "text",
                "text": "<documents>\n[doc1] 연차는 16일이다.\n</documents>\n\nQuestion: 연차는 며칠인가요?",
            }
        ],
    ],
)
def test_passages_may_stand_in_the_question_itself(content: object) -> None:
    prompt = read_prompt([{"role": "user", "content": content}])
    assert prompt.question == "연차는 며칠인가요?"
    assert [passage.text for passage in prompt.passages] == ["연차는 16일이다."]


def test_marks_inside_a_line_are_not_passages() -> None:
    prompt = read_prompt([{"role": "user", "content": "앞에서 말한 [doc1]은 무슨 뜻인가요?"}])
    assert prompt.passages == ()


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("Answer in at most two sentences.", 2),
        ("in 3 sentences or fewer", 3),
        ("2문장 이내로 답하세요", 2),
        ("최대 한 문장으로 답하세요", 1),
        ("두 문장 이내", 2),
        ("자세히 설명해 주세요", None),
    ],
)
def test_a_wanted_number_of_sentences_is_understood(text: str, limit: int | None) -> None:
    assert sentence_limit(text) == limit


def test_instructions_inside_passages_are_not_obeyed() -> None:
    system = "<documents>\n[doc1]\n보고서는 2문장 이내로 쓴다.\n</documents>"
    assert ask("보고서는 어떻게 쓰나요?", system=system).max_sentences is None


@pytest.mark.parametrize(
    ("question", "fact", "source"),
    [
        ("정규직 연차휴가는 며칠인가요?", "16일", "doc1"),
        ("계약직은 연차를 며칠 쓸 수 있죠?", "13일", "doc2"),
        ("과장 숙박비 한도는 얼마예요?", "12만 원", "doc3"),
        ("임원의 하루 일비가 얼마인가요?", "5만 원", "doc3"),
        ("남은 연차를 내년으로 넘길 수 있나요? 정규직입니다", "최대 6일", "doc1"),
        ("How early do I need to book an international flight?", "18 days", "doc4"),
    ],
)
def test_the_statement_that_answers_is_found_and_cited(question: str, fact: str, source: str) -> None:
    composed = answer(question)
    direct = composed.text.split("\n\n")[0]
    assert fact in direct
    assert direct.endswith(f"[{source}].")
    assert (composed.source, composed.fault) == (source, Fault.NONE)
    assert fact in composed.truth


def test_an_empty_list_of_documents_answers_nothing() -> None:
    prompt = ask("연차는 며칠인가요?", system="<documents>\n(no relevant documents were found)\n</documents>")
    assert compose(prompt, Random(0), FAULTLESS, 60, steady=False).text == "문서에서 해당 내용을 찾을 수 없습니다."


def test_a_decomposed_question_finds_the_same() -> None:
    question = "계약직은 연차를 며칠 쓸 수 있죠?"
    assert answer(unicodedata.normalize("NFD", question)).truth == answer(question).truth


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("사내 수영장은 몇 층에 있나요?", "문서에서 해당 내용을 찾을 수 없습니다."),
        ("Which cafeteria serves vegan lunches?", "The documents do not contain this."),
    ],
)
def test_what_the_passages_lack_is_not_answered(question: str, said: str) -> None:
    composed = answer(question)
    assert composed.text == said
    assert (composed.fault, composed.truth) == (Fault.NONE, "")


@pytest.mark.parametrize("length", [120, 450])
@pytest.mark.parametrize("question", ["계약직 연차는 며칠?", "How much is the meal allowance?"])
def test_an_answer_has_about_the_drawn_length(question: str, length: int) -> None:
    text = answer(question, length=length).text
    assert count_tokens(text) == pytest.approx(length, abs=35)
    assert "\n\n" in text


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_a_sentence_limit_is_kept_even_with_a_made_up_claim(limit: int) -> None:
    system = DOCUMENTS + f"\n최대 {limit}문장으로 답하세요."
    for seed in range(20):
        for faults in (Faults(), Faults(unsupported_rate=1)):
            text = compose(ask("계약직 연차는 며칠?", system=system), Random(seed), faults, 450, steady=False).text
            assert "13일" in text
            assert 1 <= text.count(".") <= limit
            assert "\n" not in text


def test_the_direct_answer_stands_apart_where_that_is_asked_for() -> None:
    system = DOCUMENTS + "\n4문장 이내로, 결론부터 한 문단으로, 답하십시오."
    text = compose(ask("계약직 연차는 며칠?", system=system), Random(1), Faults(), 450, steady=False).text
    lead, _, rest = text.partition("\n\n")
    assert "13일" in lead
    assert lead.count(".") == 1
    assert 1 <= rest.count(".") <= 3


def test_wording_varies_between_asks_but_the_fact_does_not() -> None:
    texts = {answer("계약직 연차는 며칠?", Faults(), seed, length=1).text for seed in range(40)}
    assert len(texts) >= 5
    assert all("13일" in text and "[doc2]" in text for text in texts)


def test_steady_requests_mostly_repeat_but_not_always() -> None:
    prompt = ask("계약직 연차는 며칠?")
    texts = [compose(prompt, Random(seed), Faults(), 1, steady=True).text for seed in range(400)]
    most = max(texts.count(text) for text in set(texts))
    assert 0.65 < most / len(texts) < 0.85  # .7, and a seventh of the rest by chance


def test_a_wrong_fact_is_wrong_in_the_whole_answer() -> None:
    for seed in range(30):
        composed = answer("계약직 연차휴가는 1년에 며칠인가요?", Faults(wrong_fact_rate=1), seed, length=600)
        assert composed.fault is Fault.WRONG_FACT
        assert "13일" not in composed.text
        assert composed.text.count(f"에 {composed.doubtful[0]}일입니다 [doc2]") >= 2  # said, and said again
        assert "13일" in composed.truth


def test_other_faults_are_what_they_say() -> None:
    question = "계약직 연차는 며칠?"
    refused = answer(question, Faults(refusal_rate=1))
    assert (refused.fault, refused.text) == (Fault.REFUSAL, "문서에서 해당 내용을 찾을 수 없습니다.")
    elsewhere = answer(question, Faults(wrong_passage_rate=1))
    assert elsewhere.fault is Fault.WRONG_PASSAGE
    assert elsewhere.source == "doc1"
    invented = answer(question, Faults(unsupported_rate=1))
    assert invented.fault is Fault.UNSUPPORTED
    assert "13일" in invented.text
    assert invented.doubtful[0] in invented.text


def test_faults_come_at_their_rates() -> None:
    faults = Faults(wrong_fact_rate=0.15, wrong_passage_rate=0.03, refusal_rate=0.01, unsupported_rate=0.05)
    drawn = [answer("계약직 연차는 며칠?", faults, seed, length=1).fault for seed in range(4_000)]
    assert drawn.count(Fault.WRONG_FACT) / 4_000 == pytest.approx(0.15, abs=0.02)
    assert drawn.count(Fault.UNSUPPORTED) / 4_000 == pytest.approx(0.05, abs=0.012)


def test_fault_rates_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to at most 1"):
        Faults(wrong_fact_rate=0.8, refusal_rate=0.3)


@pytest.mark.parametrize("number", ["16", "1,500,000", "1.5", "2025", "08", "10"])
def test_a_changed_number_keeps_its_look(number: str) -> None:
    for seed in range(20):
        change = wrong_version(f"한도는 {number}원이다", "한도는?", Random(seed))
        assert change is not None
        right, wrong = change
        assert right == number
        assert wrong != number
        assert ("," in wrong, "." in wrong) == ("," in number, "." in number)


def test_replacing_a_number_leaves_citations_and_longer_numbers_alone() -> None:
    assert replace_fact("3일 [doc3], 13일, 3.5일, 3일.", "3", "4") == "4일 [doc3], 13일, 3.5일, 4일."


@pytest.mark.parametrize(
    "text", ["안녕하세요, 연차는 16일입니다.\n\nSee [doc1].", unicodedata.normalize("NFD", "한글 조합"), "🙂\t漢字  x"]
)
def test_tokens_join_to_the_text_again(text: str) -> None:
    assert "".join(tokenize(text)) == text


def test_tokens_are_about_as_many_as_real_ones() -> None:
    korean = "정규직 직원이 쓰지 못한 연차는 최대 육일까지 다음 해로 이월할 수 있습니다"
    english = "International flights must be booked at least eighteen days before the departure date"
    assert 1.3 < sum("가" <= char <= "힣" for char in korean) / count_tokens(korean) < 1.9
    assert 3.5 < len(english) / count_tokens(english) < 6.5


def test_the_lowest_logprob_tells_right_from_wrong_about_as_well_as_a_real_model() -> None:
    rng, tokens = Random(7), tokenize("문서에 따르면 계약직 직원의 연차휴가는 1년에 15일입니다 [doc2].")
    right = [min(entry.logprob for entry in token_logprobs(tokens, (), rng, 0)) for _ in range(1_500)]
    wrong = [min(entry.logprob for entry in token_logprobs(tokens, ("15",), rng, 0)) for _ in range(1_500)]
    auc = np.mean(np.array(right)[:, None] > np.array(wrong)[None, :])
    assert auc == pytest.approx(0.92, abs=0.02)


def test_alternatives_are_sorted_and_hold_a_likely_token() -> None:
    for entry in token_logprobs(tokenize("연차는 16일"), (), Random(8), 5):
        values = [value for _, value in entry.alternatives]
        assert len(values) == 5
        assert values == sorted(values, reverse=True)
        assert sum(np.exp(values)) <= 1.0 + 1e-9
