"""The parts of the training loop do what the plain ones do: the same loss, gradients, attention and updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from workshop_utils.tuning import loop as subject
from workshop_utils.tuning.attention import short_text_attention
from workshop_utils.tuning.frozen import hidden_states, pass_by, put_back
from workshop_utils.tuning.loop import AnswerLoss, AnswerModel, ByLength, adam, collate, mean_loss
from workshop_utils.tuning.supervised import IGNORED, Row


def row(length: int, learnt: int, seed: int = 0) -> Row:
    ids = torch.randint(3, 1000, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return {"input_ids": ids, "labels": [IGNORED] * (length - learnt) + ids[length - learnt :]}


ROWS = [row(5 + 3 * n, 2 + n, n) for n in range(5)]


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def plain_loss(model: Any, rows: list[Row]) -> Any:
    """Summed over the learnt tokens, each text alone, by transformers' logits of the whole."""
    total = torch.zeros(())
    for one in rows:
        logits = model(torch.tensor([one["input_ids"]])).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(
            logits, torch.tensor(one["labels"][1:]), ignore_index=IGNORED, reduction="sum"
        )
    return total


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_loss_and_gradients_are_those_of_cross_entropy(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(subject, "LOGITS_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 4, generator=generator, requires_grad=True)
    head = torch.randn(11, 4, generator=generator, requires_grad=True)
    wanted = torch.randint(0, 11, (7,), generator=generator)
    expected = torch.nn.functional.cross_entropy(hidden @ head.T, wanted, reduction="sum")
    found = AnswerLoss.apply(hidden, head, wanted)  # type: ignore[no-untyped-call]
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    for one, other in zip(
        torch.autograd.grad(3 * found, (hidden, head)), torch.autograd.grad(3 * expected, (hidden, head)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head = torch.randn(2, 4, requires_grad=True), torch.randn(11, 4)
    AnswerLoss.apply(hidden, head, torch.tensor([1, 2])).backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert head.grad is None


def test_the_batch_s_loss_and_gradients_are_those_of_its_texts(tiny_llama: Path) -> None:
    model = load(tiny_llama)
    weight = model.model.layers[0].self_attn.q_proj.weight
    expected = plain_loss(model, ROWS)
    (gradient,) = torch.autograd.grad(expected, weight)
    with short_text_attention(model):
        assert model.config._attn_implementation != "sdpa"
        found = AnswerModel(model)(**collate(ROWS))
        (own,) = torch.autograd.grad(found.sum(), weight)
    assert model.config._attn_implementation == "sdpa"
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(own, gradient, rtol=1e-3, atol=1e-5)


def test_what_the_frozen_layers_make_stands_for_them(tiny_llama: Path) -> None:
    model = load(tiny_llama)
    layers = list(model.model.layers)
    expected = float(AnswerModel(model)(**collate(ROWS)))
    states = hidden_states(model, [one["input_ids"] for one in ROWS], 1)
    assert [len(state) for state in states] == [len(one["labels"]) for one in ROWS]
    assert list(model.model.layers) == layers
    lower = pass_by(model, 1)
    rows = [{"inputs_embeds": state, "labels": one["labels"]} for state, one in zip(states, ROWS, strict=True)]
    assert float(AnswerModel(model)(**collate(rows))) == pytest.approx(expected, rel=1e-5)
    put_back(model, lower)
    assert list(model.model.layers) == layers


def test_the_mean_loss_does_not_depend_on_the_batches(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny_llama)
    learnt = sum(label != IGNORED for one in ROWS for label in one["labels"])
    with torch.no_grad():
        expected = float(plain_loss(model, ROWS)) / learnt
    for tokens in (1, 40, 1000):
        monkeypatch.setattr(subject, "TOKENS_PER_BATCH", tokens)
        assert mean_loss(AnswerModel(model), ROWS) == pytest.approx(expected, rel=1e-5)


def test_batches_are_of_like_length_and_differ_by_epoch() -> None:
    lengths = [n % 37 for n in range(205)]
    sampler = ByLength(lengths, 4, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(205))
    assert list(sampler) == first
    assert [len(first[at : at + 4]) for at in range(0, 205, 4)][-1] == 1

    def padded(order: list[int]) -> int:
        return sum(max(lengths[i] for i in order[at : at + 4]) * 4 for at in range(0, 204, 4))

    assert padded(first) < 1.15 * sum(lengths) < padded(list(range(205)))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert {frozenset(first[at : at + 4]) for at in range(0, 204, 4)} != {
        frozenset(list(sampler)[at : at + 4]) for at in range(0, 204, 4)
    }
    assert list(ByLength(lengths, 4, seed=4)) != first


def test_small_updates_of_short_weights_are_not_lost() -> None:
    """At 1 the next bfloat16 is 0.0078 away: single steps of 0.001 would all be rounded off."""
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    plain = torch.nn.Parameter(torch.ones(4))
    for parameter in (weight, plain):
        optimiser = adam([parameter], 1e-3)
        for _ in range(20):
            parameter.grad = torch.full_like(parameter, 0.5)
            optimiser.step()
    assert float(plain[0]) == pytest.approx(0.98, abs=1e-3)
    assert float(weight[0]) == pytest.approx(0.98, abs=5e-3)
    assert weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_optimiser_that_is_saved_goes_on_where_it_was(dtype: torch.dtype) -> None:
    def steps(optimiser: torch.optim.Optimizer, parameter: torch.nn.Parameter, first: int, last: int) -> None:
        for number in range(first, last):
            parameter.grad = torch.full_like(parameter, 0.3 if number % 3 else -0.2)
            optimiser.step()

    one = torch.nn.Parameter(torch.ones(4, dtype=dtype))
    whole = adam([one], 1e-2)
    steps(whole, one, 0, 8)

    other = torch.nn.Parameter(torch.ones(4, dtype=dtype))
    half = adam([other], 1e-2)
    steps(half, other, 0, 4)
    saved = half.state_dict()
    fresh = torch.nn.Parameter(torch.zeros(4, dtype=dtype))
    again = adam([fresh], 1e-2)
    again.load_state_dict(saved)
    assert torch.equal(fresh, other)
    steps(again, fresh, 4, 8)
    assert torch.equal(fresh, one)
    assert torch.equal(again.state_dict()["weights"][0], whole.state_dict()["weights"][0])
