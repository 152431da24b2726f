"""Intervals: they cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from workshop_utils.evaluation import Estimate, bootstrap, intervals, paired_difference
from workshop_utils.evaluation.intervals import holm, sign_flip_test


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer draws for simulations of hundreds of intervals."""
    monkeypatch.setattr(intervals, "RESAMPLES", 1000)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("truth", [0.3, 0.5])
def test_95_of_100_intervals_hold_the_truth(truth: float) -> None:
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(400):
        estimate = bootstrap((random.random(150) < truth).tolist(), seed=seed)
        covered += estimate.low <= truth <= estimate.high
    assert 0.93 <= covered / 400 <= 0.97


@pytest.mark.usefixtures("quick")
def test_95_of_100_differences_of_pairs_hold_the_truth() -> None:
    """Two arms that are right on the same hard and easy questions: 0.7 and 0.5 on average."""
    random = np.random.default_rng(2)
    covered, widths, unpaired = 0, [], []
    for seed in range(400):
        hard = random.random(150)
        first, second = hard < 0.7, np.where(random.random(150) < 0.9, hard < 0.5, hard >= 0.5)
        estimate = paired_difference(first.tolist(), second.tolist(), seed=seed)
        covered += estimate.low <= 0.7 - 0.5 <= estimate.high
        widths.append(estimate.high - estimate.low)
        unpaired.append(2 * 1.96 * np.sqrt((0.7 * 0.3 + 0.5 * 0.5) / 150))
    assert 0.93 <= covered / 400 <= 0.97
    assert np.mean(widths) < 0.85 * np.mean(unpaired)


@pytest.mark.usefixtures("quick")
def test_families_that_agree_widen_the_interval_as_they_must() -> None:
    """40 families of 5 equal answers are 40 observations and not 200: without families 95% would be near 60%."""
    random = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 5).tolist()
    covered = naive = 0
    for seed in range(400):
        values = np.repeat(random.random(40) < 0.4, 5).tolist()
        by_family, by_question = bootstrap(values, groups, seed=seed), bootstrap(values, seed=seed)
        assert by_family.high - by_family.low > 1.5 * (by_question.high - by_question.low)
        covered += by_family.low <= 0.4 <= by_family.high
        naive += by_question.low <= 0.4 <= by_question.high
    assert covered / 400 >= 0.92
    assert naive / 400 <= 0.75


def test_families_of_different_sizes_weigh_by_their_questions() -> None:
    estimate = bootstrap([1] * 50 + [0] * 10, ["large"] * 50 + [f"small {n}" for n in range(10)])
    assert estimate.value == pytest.approx(50 / 60)
    assert estimate.low == 0  # a third of the draws miss the large family
    assert estimate.value < estimate.high < 1


@pytest.mark.parametrize("n", [1, 2, 10, 100, 1000])
def test_the_rule_of_three_at_the_ends(n: int) -> None:
    share = min(3 / n, 1)
    none, all_right = bootstrap([0] * n), bootstrap([True] * n)
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, share))
    assert (all_right.value, all_right.low, all_right.high) == pytest.approx((1, 1 - share, 1))
    same = paired_difference([1] * n, [1] * n)
    assert (same.value, same.low, same.high) == pytest.approx((0, -share, share))
    worse = paired_difference([0] * n, [1] * n)
    assert (worse.value, worse.low, worse.high) == pytest.approx((-1, -1, -1 + 2 * share))


@pytest.mark.parametrize("truth", [0.001, 0.01, 0.02])
def test_the_rule_of_three_holds_what_it_promises(truth: float) -> None:
    """Of samples without a single success, the interval excludes the truth in at most 5%."""
    n = 100
    chance_of_none = (1 - truth) ** n
    excluded = chance_of_none if truth > bootstrap([0] * n).high else 0.0
    assert excluded <= 0.05


def test_the_rule_of_three_counts_families_and_not_questions() -> None:
    assert bootstrap([0] * 100, [n // 10 for n in range(100)]).high == pytest.approx(0.3)


def test_a_single_family_says_nothing_of_others() -> None:
    estimate = bootstrap([1, 0, 1, 1], ["one"] * 4)
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.75, 0, 1, 4)


def test_an_interval_is_repeatable_and_around_its_mean() -> None:
    values = np.linspace(0, 1, 40).round(3).tolist()
    first = bootstrap(values)
    assert first == bootstrap(values)
    assert first != bootstrap(values, seed=1)
    assert first.value == pytest.approx(0.5)
    assert 0 <= first.low < first.value < first.high <= 1


def test_the_difference_of_arms_is_signed() -> None:
    better, worse = [1, 1, 1, 0, 1, 1], [0, 1, 0, 0, 1, 0]
    up, down = paired_difference(better, worse), paired_difference(worse, better)
    assert up.value == -down.value == pytest.approx(0.5)
    assert up.low >= 0 >= down.high


def test_an_estimate_prints_and_becomes_json() -> None:
    estimate = Estimate(0.5, 0.25, 0.75, 12)
    assert str(estimate) == "0.50 [0.25, 0.75] (n=12)"
    assert estimate.as_dict() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 12}


def test_wrong_lengths_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])
    with pytest.raises(ValueError, match="3 values but 2 groups"):
        bootstrap([1, 0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="3 and 1 values"):
        paired_difference([1, 0, 1], [1])
    with pytest.raises(ValueError, match="no values"):
        paired_difference([], [])


# -- the paired permutation test --


def test_the_p_value_by_hand() -> None:
    # all 2^3 signs: only +++ and --- are as far from 0 as the sum 6; of 1, 2, -3 every sign pattern is
    assert sign_flip_test([1, 2, 3], [0, 0, 0]) == pytest.approx(2 / 8)
    assert sign_flip_test([1, 2, -3], [0, 0, 0]) == 1
    assert sign_flip_test([1, 0, 1, 1], [1, 0, 1, 1]) == 1
    # a family counts once: {1, 1} and {1} flip together
    assert sign_flip_test([1, 1, 1], [0, 0, 0], ["a", "a", "b"]) == pytest.approx(2 / 4)
    # those that do not differ say nothing
    assert sign_flip_test([1, 2, 3, 1, 1], [0, 0, 0, 1, 1]) == pytest.approx(2 / 8)


def test_drawn_signs_agree_with_all_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    first, second = random.random(11).tolist(), (random.random(11) - 0.15).tolist()
    exact = sign_flip_test(first, second)
    monkeypatch.setattr(intervals, "RESAMPLES", 2000)
    drawn = sign_flip_test(first, second)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.04)
    assert drawn == sign_flip_test(first, second)


@pytest.mark.usefixtures("quick")
def test_the_test_keeps_its_level_and_finds_what_is_there() -> None:
    """40 families of 3 questions; an arm as good as the other is called different in 5% of samples, not more."""
    random = np.random.default_rng(6)
    groups = np.repeat(np.arange(40), 3).tolist()
    alarms = naive = found = 0
    for seed in range(400):
        luck = np.repeat(random.normal(size=40), 3) + 0.3 * random.normal(size=120)
        nothing = np.zeros(120).tolist()
        alarms += sign_flip_test(luck.tolist(), nothing, groups, seed=seed) <= 0.05
        naive += sign_flip_test(luck.tolist(), nothing, seed=seed) <= 0.05
        found += sign_flip_test((luck + 0.6).tolist(), nothing, groups, seed=seed) <= 0.05
    assert 0.02 <= alarms / 400 <= 0.08
    assert naive / 400 > 0.15
    assert found / 400 > 0.8


def test_unequal_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 values"):
        sign_flip_test([1, 0], [1])
    with pytest.raises(ValueError, match="2 values but 1 groups"):
        sign_flip_test([1, 0], [1, 0], ["a"])
    with pytest.raises(ValueError, match="no values"):
        sign_flip_test([], [])


# -- many tests --


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.2])


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    """10 tests, 7 of them of nothing: without correction some false alarm is the rule."""
    random = np.random.default_rng(7)
    alarms = naive = found = 0
    for _ in range(2000):
        p_values = np.concatenate([random.random(7), random.random(3) * 0.002])
        alarms += min(holm(p_values.tolist())[:7]) <= 0.05
        naive += p_values[:7].min() <= 0.05
        found += max(holm(p_values.tolist())[7:]) <= 0.05
    assert alarms / 2000 <= 0.06
    assert alarms / 2000 >= 0.03  # with 3 rejected, 7 are left, so it is nearly exhausted; Bonferroni would be at 0.034
    assert naive / 2000 > 0.25
    assert found / 2000 > 0.95
