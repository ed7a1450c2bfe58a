"""Proper names of English questions, known by their capital alone."""

from __future__ import annotations

import pytest

from gateway.cache.facets import facets, veto


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Do your plumbers cover Croydon?", "Do your plumbers cover Guildford?"),
        ("Can I pay with Quorvex?", "Can I pay with Mibalo?"),
        ("Please send Anna's invoice to Sam", "Please send Anna's invoice to Maria"),
    ],
)
def test_names_that_each_has_alone_tell_questions_apart(one: str, other: str) -> None:
    assert veto(facets(one), facets(other)) == veto(facets(other), facets(one)) == "codes"
    assert not veto(facets(one), facets(other.lower()))  # without its capital a word may be any


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is there Wi-Fi on the flight?", "Is Wi-Fi available on the flight?"),
        ("Do you take Mastercard here?", "Do you take Matercard here?"),
        ("Is parking free on Saturdays?", "Is parking free on a Saturday?"),
        ("What does Acme's plan cost?", "What does the plan of Acme cost?"),
        ("How Do I Cancel My Order Today", "How Do I Cancel My Purchase Today"),
        ("I'd like to know if I can pay", "I wonder whether I'm able to pay"),
        ("The limit. Where is it told?", "The limit. Which page tells it?"),
    ],
)
def test_slips_plurals_and_mere_capitals_do_not(one: str, other: str) -> None:
    assert veto(facets(one), facets(other)) != "codes"
    assert veto(facets(other), facets(one)) != "codes"
