"""The rules and the cost model: what they say in clear cases, what would change it, and arithmetic done by hand."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop_utils.corpus import data_dir
from workshop_utils.errors import InputError
from workshop_utils.evaluation import deciding as subject
from workshop_utils.evaluation.deciding import FACTORS, MEASURED, OPTIONS, RULES, CostModel, advise
from workshop_utils.evaluation.ledger.claims import CLAIMS
from workshop_utils.models.adapters import FACTS, KNOWLEDGE
from workshop_utils.tuning.arithmetic import Shape, training_flop
from workshop_utils.tuning.run import REPORT

NOTHING = dict.fromkeys(FACTORS, 0)
EVERYTHING = {name: factor.levels - 1 for name, factor in FACTORS.items()}
CLAIMED = {claim.id for claim in CLAIMS}

# ---- rules


def top(*names: str) -> dict[str, int]:
    """Nothing but these factors, and those at their highest."""
    return NOTHING | {name: EVERYTHING[name] for name in names}


@pytest.mark.parametrize(
    ("situation", "option"),
    [
        (NOTHING, "rag"),  # D4
        (top("change", "facts", "sources", "start"), "rag"),  # D1
        (top("examples", "task", "budget"), "fine-tuning"),  # D2
        (top("facts", "form", "budget", "examples"), "both"),  # D3
        (top("facts", "private"), "rag"),
    ],
)
def test_the_clear_cases(situation: dict[str, int], option: str) -> None:
    assert advise(situation).option == option


def test_a_rule_is_as_loud_as_its_weakest_factor_lets_it() -> None:
    spoken = {one.rule.id: one for one in advise(top("facts", "form") | {"form": 1}).rules}
    assert (spoken["D3.both_matter"].applies, spoken["D3.both_matter"].contribution) == (0.5, 3.0)
    assert spoken["D1.budget"].applies == 1  # budget is low
    assert spoken["D4.first"].applies == 1  # always
    assert spoken["D1.change"].applies == 0


def test_scores_are_the_sums_of_what_the_rules_add_and_the_loudest_comes_first() -> None:
    advice = advise(EVERYTHING)
    for option in OPTIONS:
        assert advice.scores[option] == sum(o.contribution for o in advice.rules if o.rule.speaks_for == option)
    assert [one.contribution for one in advice.rules] == sorted((o.contribution for o in advice.rules), reverse=True)
    assert advice.option == max(OPTIONS, key=lambda option: advice.scores[option])


def test_weights_can_be_moved() -> None:
    situation = top("facts", "form", "budget", "examples")
    assert advise(situation, {"D3.both_matter": 0, "D3.resources": 0}).option != "both"
    assert advise(NOTHING, {"D2.stable": 50}).option == "fine-tuning"
    silent = advise(EVERYTHING, {rule.id: 0 for rule in RULES})
    assert (silent.option, silent.change, silent.lead) == ("rag", None, 0)


levels = st.fixed_dictionaries({name: st.integers(0, factor.levels - 1) for name, factor in FACTORS.items()})


@given(levels)
def test_what_would_change_the_advice_does_and_nothing_smaller_does(situation: dict[str, int]) -> None:
    advice = advise(situation)

    def size(name: str, level: int) -> float:
        return abs(FACTORS[name].share(level) - FACTORS[name].share(situation[name]))

    moves = [(name, level) for name, factor in FACTORS.items() for level in range(factor.levels)]
    flips = [(name, level) for name, level in moves if advise({**situation, name: level}).option != advice.option]
    if advice.change is None:
        assert flips == []
        return
    changed = advise({**situation, advice.change.factor: advice.change.level})
    assert changed.option == advice.change.option != advice.option
    assert size(advice.change.factor, advice.change.level) == min(size(*flip) for flip in flips)


def test_every_rule_stands_on_claims_and_known_factors() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {rule.id.partition(".")[0] for rule in RULES} == {"D1", "D2", "D3", "D4", "M"}
    for rule in RULES:
        assert rule.evidence
        assert set(rule.evidence) <= CLAIMED, rule.id
        assert {*rule.high, *rule.low} <= set(FACTORS)
    used = {name for rule in RULES for name in (*rule.high, *rule.low)}
    assert used == set(FACTORS)


@pytest.mark.parametrize(
    ("situation", "weights", "message"),
    [
        ({"chance": 1}, {}, "no factor chance; the factors are change"),
        ({"change": 9}, {}, "change has the levels 0 to 4"),
        ({"change": -1}, {}, "change has the levels"),
        ({}, {"D9": 1}, "no rule D9; the rules are D1.change"),
        ({}, {"D1.change": -1}, "The weight of D1.change must be 0 or more"),
        ({}, {"D1.change": math.nan}, "must be 0 or more"),
    ],
)
def test_what_does_not_exist_is_named(situation: dict[str, int], weights: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        advise(situation, weights)


# ---- costs

# 1,000 operations a token forward; 100 tokens a second of index; one coin an hour of machine and of person
MODEL = CostModel(
    corpus_tokens=7200,
    changed_share=0.5,
    index_tokens_per_second=1,
    parameters=500,
    flops=1000,
    utilisation=0.1,
    training_utilisation=0.5,
    prompt_tokens=9,
    prompt_tokens_with_passages=29,
    answer_tokens=1,
    training_tokens=600,
    tuned_share=0.5,
    queries=36,
    updates=2,
    hour_price=1,
    person_price=1,
    setup_hours=3,
    labelling_hours=5,
    retraining_hours=1,
    months=10,
)


def test_the_costs_by_hand() -> None:
    # 1,000 x 30 operations at 100 a second; training: (4 / 2 + 2 / 2) x 500 x 600 at 500 a second: half an hour
    assert MODEL.answer_seconds("rag") == MODEL.answer_seconds("both") == pytest.approx(300)
    assert MODEL.answer_seconds("fine-tuning") == pytest.approx(100)
    assert MODEL.training_seconds == pytest.approx(1800)
    found = subject.costs(MODEL)
    assert {option: cost.once for option, cost in found.items()} == pytest.approx(
        {"rag": 2 + 3, "fine-tuning": 0.5 + 5, "both": 5 + 5.5}
    )
    assert {option: cost.per_update for option, cost in found.items()} == pytest.approx(
        {"rag": 1, "fine-tuning": 0.5 + 1, "both": 1}
    )
    assert {option: cost.per_month for option, cost in found.items()} == pytest.approx(
        {"rag": 0.5 + 2 + 3, "fine-tuning": 0.55 + 3 + 1, "both": 1.05 + 2 + 3}
    )


@pytest.mark.parametrize("upper_layers", [15, 24, None])
def test_training_is_counted_as_the_trainer_counts_it(upper_layers: int | None) -> None:
    shape = Shape(30, 576, 1536, 9, 3, 64, 0, True)
    model = replace(
        MODEL,
        parameters=shape.layers * shape.layer_parameters,
        tuned_share=(upper_layers or 30) / 30,
        flops=1,
        training_utilisation=1,
    )
    wanted = training_flop(shape, tokens=600, learnt_tokens=0, upper_layers=upper_layers)
    assert model.training_seconds == pytest.approx(wanted)


def test_at_the_break_even_both_cost_the_same() -> None:
    model = replace(MODEL, updates=20)
    found = subject.break_even(model)
    assert found
    at = subject.costs(replace(model, queries=found))
    assert at["rag"].per_month == pytest.approx(at["fine-tuning"].per_month)
    below, above = (subject.costs(replace(model, queries=found * by)) for by in (0.5, 2))
    assert below["rag"].per_month < below["fine-tuning"].per_month
    assert above["rag"].per_month > above["fine-tuning"].per_month


def test_without_a_break_even_one_is_always_cheaper() -> None:
    cheap = replace(MODEL, labelling_hours=0, retraining_hours=0, updates=0)
    assert subject.break_even(cheap) is None
    assert subject.break_even(MODEL, "rag", "both") is None


def test_what_leaves_the_measured_is_named() -> None:
    inputs = MODEL.inputs()
    known = replace(MODEL, origin={name: inputs[name] for name in MEASURED})
    assert subject.costs(known)["rag"].extrapolated == ()
    assert subject.costs(MODEL)["rag"].extrapolated == MEASURED
    # what a team must say itself was never measured
    assert subject.costs(replace(known, person_price=9, updates=50))["rag"].extrapolated == ()
    larger = subject.costs(replace(known, parameters=7e9))
    assert larger["fine-tuning"].extrapolated == ("parameters", "queries")  # one machine is too slow now
    assert subject.costs(replace(known, queries=1e4))["fine-tuning"].extrapolated == ()
    assert subject.costs(replace(known, queries=1e4))["rag"].extrapolated == ("queries",)


def test_a_curve_has_the_costs_of_each_number_of_queries() -> None:
    known = replace(MODEL, origin={name: MODEL.inputs()[name] for name in MEASURED})
    rows = subject.curve(known, [0, 36, 1e6])
    assert [row["queries"] for row in rows] == [0, 36, 1e6]
    assert rows[1]["rag"] == pytest.approx(subject.costs(known)["rag"].per_month)
    assert [row["extrapolated"] for row in rows] == [[], [], ["queries"]]
    assert json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": -1}, "queries is -1; it must be at least 0"),
        ({"flops": 0}, "flops is 0; it must be more than 0"),
        ({"months": 0}, "months is 0"),
        ({"utilisation": 1.5}, "utilisation is 1.5; a share is at most 1"),
        ({"parameters": math.nan}, "parameters is nan"),
        ({"hour_price": math.inf}, "hour_price is inf"),
    ],
)
def test_an_impossible_input_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        replace(MODEL, **changes)


def test_every_input_can_be_changed_and_none_is_idle() -> None:
    for name, value in MODEL.inputs().items():
        less: dict[str, Any] = {name: 0.9 * value}
        moved = replace(MODEL, **less)
        assert [cost.per_month for cost in subject.costs(moved).values()] != [
            cost.per_month for cost in subject.costs(MODEL).values()
        ], name


def test_the_measured_model_takes_the_time_that_was_measured() -> None:
    model = CostModel.measured(FACTS)
    assert subject.costs(model)["rag"].extrapolated == ()
    assert set(model.origin) == set(MEASURED)
    assert model.prompt_tokens_with_passages > 2 * model.prompt_tokens
    reading = json.loads((data_dir() / "results" / "reading.json").read_text("utf-8"))
    assert model.answer_seconds("rag") == pytest.approx(reading["latency"]["rows"]["3"]["generation"]["p50"])
    # another training than the one whose speed is used: the formula must come near
    assert model.training_seconds == pytest.approx(json.loads((FACTS / REPORT).read_text("utf-8"))["seconds"], rel=0.5)


def test_the_training_that_is_counted_has_been_made() -> None:
    assert CostModel.measured().training_tokens == json.loads((KNOWLEDGE / REPORT).read_text("utf-8"))["tokens"]
