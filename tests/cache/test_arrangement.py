"""The same words arranged otherwise: what each of them does in the question decides whether two questions are one."""

from __future__ import annotations

import pytest

from gateway.cache.calibrated import AdaptiveRule, shipped
from gateway.cache.facets import contradicts, facets, veto
from gateway.chat import CachedQuestion, Neighbor
from tests.cache.makers import key

LOCAL = "multilingual-e5-small-q4"


def served(kept: str, asked: str) -> bool:
    """Whether a new scope that holds ``kept`` answers ``asked`` from it."""
    calibration = shipped(LOCAL)
    assert calibration is not None
    rule = AdaptiveRule(calibration, audited=0.0)
    return rule.decide(asked, [Neighbor(CachedQuestion(kept, key()), 0.999)]).neighbor is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("강사가 수강생을 고르나요?", "수강생이 강사를 고르나요?"),
        ("강사를 수강생이 고르나요?", "강사가 수강생을 고르나요?"),
        ("강사는 수강생을 바꿀 수 있나요?", "수강생도 강사를 바꿀 수 있나요?"),
        ("내가 동료를 추천하면 상금이 있나요?", "동료가 나를 추천하면 상금이 있나요?"),
        ("미국 법인의 독일 매출은?", "독일 법인의 미국 매출은?"),
        ("창고에서 매장으로 옮기는 비용은?", "매장에서 창고로 옮기는 비용은?"),
        ("VPN으로 메일을 여나요?", "메일로 VPN을 여나요?"),
        ("X팀이 Y팀을 돕나요?", "Y팀이 X팀을 돕나요?"),
        ("물가가 오르면 식대가 내리나요?", "식대가 오르면 물가가 내리나요?"),
        ("방 2개 침대 4개 예약은 얼마인가요?", "방 4개 침대 2개 예약은 얼마인가요?"),
        ("7시부터 4시까지 일하나요?", "4시부터 7시까지 일하나요?"),
        ("5월 6일에 쉬나요?", "6월 5일에 쉬나요?"),
        ("창립기념일은 5/6인가요?", "창립기념일은 6/5인가요?"),
        ("저장고가 -3도면 경보가 울리나요?", "저장고가 3도면 경보가 울리나요?"),
        ("임원만 주차할 수 있나요?", "임원도 주차할 수 있나요?"),
        ("신청은 메일로만 받나요?", "신청은 메일로도 받나요?"),
        ("교통비는 안 받고 식비를 받아도 되나요?", "교통비는 받고 식비를 안 받아도 되나요?"),
        ("점심은 되고 저녁은 안 되나요?", "점심은 안 되고 저녁은 되나요?"),
        ("설치 후 등록하나요?", "등록 후 설치하나요?"),
        ("보안 서약 없이 장비 대여가 되나요?", "장비 대여 없이 보안 서약이 되나요?"),
        ("廣州 지점 주소는 무엇인가요?", "深圳 지점 주소는 무엇인가요?"),
        ("B+ 학점 장학금은 얼마인가요?", "B 학점 장학금은 얼마인가요?"),
        ("Can the tutor drop the pupil?", "Can the pupil drop the tutor?"),
        ("May I sue my tenant?", "May my tenant sue me?"),
        ("Do I owe the bank tax?", "Does the bank owe me tax?"),
        ("Can you open what I closed?", "Can I open what you closed?"),
        ("Do we test before we deploy?", "Do we deploy before we test?"),
        ("Is the gym included without the pool?", "Is the pool included without the gym?"),
        ("Is lunch refunded but dinner not?", "Is dinner refunded but lunch not?"),
        ("Is a room for 2 parents and 4 kids free?", "Is a room for 4 parents and 2 kids free?"),
        ("Is the shop open from 7 to 4 daily?", "Is the shop open from 4 to 7 daily?"),
        ("What is the price of GBP in JPY?", "What is the price of JPY in GBP?"),
        ("When is the F# course held?", "When is the F++ course held?"),
        ("Is the Харьков office open today?", "Is the Одесса office open today?"),
        ("Who pays IT for training?", "Who pays it for training?"),
        ("How do I file US taxes?", "How do I file us taxes?"),
    ],
)
def test_the_same_words_the_other_way_round_are_vetoed(one: str, other: str) -> None:
    for mine, theirs in ((one, other), (other, one)):
        assert veto(facets(mine), facets(theirs)) != ""
        assert not served(mine, theirs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("제 평가를 동료가 볼 수 있나요?", "동료 평가를 제가 볼 수 있나요?"),
        ("동료가 제 평가를 볼 수 있나요?", "제가 동료 평가를 볼 수 있나요?"),
        ("손님이 교환을 거절하면 어떻게 하나요?", "손님의 교환을 거절하면 어떻게 하나요?"),
        ("일요일처럼 토요일 수당이 나오나요?", "일요일만큼 토요일 수당이 나오나요?"),
        ("Can my tutor see my grade?", "Can I see my tutor's grade?"),
        ("Does legal tell the auditor?", "Does the auditor tell legal?"),
        ("Who audits sales, HR or legal?", "Who audits HR, sales or legal?"),
    ],
)
def test_a_new_scope_leaves_words_in_another_place_to_what_it_learns(one: str, other: str) -> None:
    assert not served(one, other)
    assert not served(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("연차 며칠이나 쓸 수 있나요", "연차는 며칠이나 쓸 수 있나요?"),
        ("연차를 내년으로 이월할 수 있나요", "내년으로 연차를 이월할 수 있나요?"),
        ("본사에서 지사로 장비를 옮기나요?", "장비를 본사에서 지사로 옮기나요?"),
        ("신입 직원은 장비를 신청하나요?", "장비를 신입 직원은 신청하나요?"),
        ("제가 휴가를 신청하면 누가 승인하나요?", "휴가를 신청하면 누가 승인하나요?"),
        ("월요일에 휴무 수당이 있나요?", "월요일 휴무 수당 있나요"),
        ("진단서로 병가 신청해도 되나요?", "진단서로 병가를 신청해도 돼요?"),
        ("연차를 안 쓰면 수당이 나오나요?", "연차를 쓰지 않으면 수당이 나와요?"),
        ("서류는 원본만 제출하나요?", "서류 원본만 제출합니까?"),
        ("영하 5도에 작업 중단 기준은?", "-5도에 작업 중단 기준은?"),
        ("어른 2명 아이 3명 요금은?", "아이 3명 어른 2명 요금은?"),
        ("5월 6일 휴무인가요?", "5월 6일에 휴무예요?"),
        ("교육은 월요일이랑 화요일 중 언제인가요?", "교육은 화요일이랑 월요일 중 언제인가요?"),
        ("it 지원은 누가 하나요?", "IT 지원은 누가 하나요?"),
        ("Who pays for travel by card or cash?", "Who pays for travel by cash or card?"),
        ("Are sick days and vacation days paid out?", "Are vacation days and sick days paid out?"),
        ("Can I take 3 sick days and 5 vacation days?", "Can I take 5 vacation days and 3 sick days?"),
        ("After I sign, do I pay?", "Do I pay after I sign?"),
        ("Is the shuttle running in Busan in July?", "Is the shuttle running in July in Busan?"),
        ("WHAT DOES IT SUPPORT?", "What does it support?"),
        ("who pays for the vpn", "Who pays for the VPN?"),
        ("Is the office open at 9 AM?", "Is the office open at 9 am?"),
        ("Where is the résumé template kept?", "Where is the resume template kept?"),
    ],
)
def test_another_place_or_particle_that_changes_nothing_is_no_veto(one: str, other: str) -> None:
    for mine, theirs in ((one, other), (other, one)):
        assert veto(facets(mine), facets(theirs)) == ""
        assert not contradicts(facets(mine), facets(theirs))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("연차 며칠이나 쓸 수 있나요", "연차는 며칠이나 쓸 수 있나요?"),
        ("연차를 내년으로 이월할 수 있나요", "내년으로 연차를 이월할 수 있나요?"),
        ("본사에서 지사로 장비를 옮기나요?", "장비를 본사에서 지사로 옮기나요?"),
        ("신입 직원은 장비를 신청하나요?", "장비를 신입 직원은 신청합니까?"),
        ("제가 휴가를 신청하면 누가 승인하나요?", "휴가를 신청하면 누가 승인하나요?"),
        ("월요일에 휴무 수당이 있나요?", "월요일 휴무 수당 있나요"),
        ("서류는 원본만 제출하나요?", "서류 원본만 제출합니까?"),
        ("WHO PAYS FOR THE VPN?", "Who pays for the VPN?"),
        ("what does it support", "What does it support?"),
        ("How do I reset my VPN password?", "How do I reset the VPN password?"),
        ("Is the office open at 9 AM?", "is the office open at 9 am"),
    ],
)
def test_a_new_scope_serves_the_same_words_doing_the_same(one: str, other: str) -> None:
    assert served(one, other)
    assert served(other, one)
