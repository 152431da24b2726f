"""The decision helper without a browser: its sentences, what was measured beside each rule, and its controls."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.widgets.test_widgets import ATTACK, Reader
from workshop_utils.evaluation.deciding import FACTORS, RULES, advise
from workshop_utils.messages import say
from workshop_utils.widgets.decision_helper import MOST, Decision, decision_helper, factor_name, level_name

FOR_BOTH = {"facts": 2, "form": 2, "budget": 2, "examples": 4, "change": 3, "sources": 1}


def decision(evidence: Any = None, **levels: int) -> Decision:
    state = Decision(evidence or {})
    state.levels.update(levels)
    return state


def text(state: Decision) -> str:
    return Reader(state.as_html()).text


def test_the_advice_is_one_sentence_with_its_lead() -> None:
    state = decision()
    advice = advise({})
    assert state.sentence() == say(
        "decision_helper.sentence",
        option="RAG",
        score=advice.scores["rag"],
        lead=advice.scores["rag"] - advice.scores["fine-tuning"],
        second="fine-tuning",
    )
    assert state.sentence() in text(state)


def test_equal_scores_are_called_equal() -> None:
    state = decision()
    state.weights = dict.fromkeys(state.weights, 0.0)
    assert state.sentence() == say("decision_helper.tie", option="RAG", second="fine-tuning", score=0.0)


def test_what_would_change_it_is_said_in_the_team_s_words() -> None:
    state = decision(**FOR_BOTH)
    advice = state.advice
    assert advice.option == "both"
    assert advice.change is not None
    changed = decision(**{**FOR_BOTH, advice.change.factor: advice.change.level})
    assert changed.advice.option == advice.change.option
    said = state.change()
    assert factor_name(advice.change.factor) in said
    assert f"'{level_name(advice.change.factor, advice.change.level)}'" in said
    assert f"'{level_name(advice.change.factor, FOR_BOTH[advice.change.factor])}'" in said
    assert decision().advice.change is None
    assert decision().change() == say("decision_helper.no_change")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"verdict": "holds", "figure": 0.634, "low": 0.51, "high": 0.76}, "R+4: holds (0.63, between 0.51 and 0.76)"),
        (
            {"verdict": "holds", "figure": {"value": 0.6, "low": 0.5, "high": 0.7}},
            "holds (0.60, between 0.50 and 0.70)",
        ),
        ({"verdict": "holds", "figure": 1.3, "low": None, "high": None}, "R+4: holds (1.30)"),
        ({"verdict": "holds", "figure": "153 of 153"}, "R+4: holds (153 of 153)"),
        ({"verdict": "not decidable here", "figure": None}, "R+4: not decidable here"),
        ({"verdict": "fits"}, "R+4: fits"),
    ],
)
def test_the_measured_verdict_stands_beside_its_rule(row: dict[str, Any], expected: str) -> None:
    assert expected in text(decision({"R+4": row}))


def test_a_rule_that_was_measured_otherwise_is_marked_and_one_without_measurement_says_so() -> None:
    shown = text(decision({"R+4": {"verdict": "does not hold here"}, "RU1": {"verdict": "does not fit here"}}))
    assert shown.count(f"({say('decision_helper.against')})") == 2
    assert say("decision_helper.unmeasured", claim="R0") in shown
    assert say("decision_helper.against") not in text(decision({"R+4": {"verdict": "holds only when asked"}}))


def test_every_rule_is_shown_once_and_those_that_are_silent_stand_apart() -> None:
    state = decision()
    shown = Reader(state.as_html())
    for rule in RULES:
        assert shown.text.count(say(f"decision_helper.rules.{rule.id}")) == 1
    before, after = state.as_html().split("<details>")
    for one in state.advice.rules:
        part = before if one.contribution else after
        assert say(f"decision_helper.rules.{one.rule.id}") in Reader(part).text
    spoken = next(one for one in state.advice.rules if one.rule.id == "D1.change")
    product = say("decision_helper.product", applies=0.5, weight=3, contribution=spoken.contribution)
    assert product in shown.text
    assert "50%" in product
    assert "1.5" in product


def test_every_factor_and_level_has_words() -> None:
    for name, factor in FACTORS.items():
        words = [level_name(name, level) for level in range(factor.levels)]
        assert len(set(words)) == factor.levels
        assert factor_name(name)


def test_texts_of_the_evidence_are_text_and_not_markup() -> None:
    plain = Reader(decision({"R+4": {"verdict": "holds", "figure": "x"}}).as_html())
    hostile = Reader(decision({"R+4": {"verdict": ATTACK, "figure": ATTACK}}).as_html())
    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    assert hostile.text.count(ATTACK) == 2


def test_the_widget_follows_its_controls() -> None:
    widget = decision_helper({"R+4": {"verdict": "holds"}})
    _, situation, weights, shown = widget.children
    factors = dict(zip(FACTORS, (row.children[1] for row in situation.children), strict=True))
    assert weights.selected_index is None
    assert decision().sentence() in Reader(shown.value).text
    for name, level in FOR_BOTH.items():
        factors[name].value = level
    assert decision(**FOR_BOTH).sentence() in Reader(shown.value).text
    *rows, reset = weights.children[0].children
    sliders = [row.children[1] for row in rows]
    assert all(rule.weight <= MOST for rule in RULES)
    sliders[[rule.id for rule in RULES].index("D3.both_matter")].value = 0
    moved = decision(**FOR_BOTH)
    moved.weights["D3.both_matter"] = 0
    assert moved.advice.option == "rag"
    assert moved.sentence() in Reader(shown.value).text
    reset.click()
    assert [slider.value for slider in sliders] == [rule.weight for rule in RULES]
    assert decision(**FOR_BOTH).sentence() in Reader(shown.value).text


def test_the_bars_are_as_long_as_the_scores() -> None:
    state = decision(**FOR_BOTH)
    widths = [float(width) for width in re.findall(r"height:14px;width:([\d.]+)%", state.as_html())]
    scores = list(state.advice.scores.values())
    assert widths == pytest.approx([100 * score / max(scores) for score in scores], abs=0.1)
