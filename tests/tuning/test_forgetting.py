"""The probes say of a model what its log-probabilities say, with or without an adapter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.tiny import save_llama, save_lora
from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.models import load_llm, store
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.tuning import forgetting
from workshop_utils.tuning.forgetting import CHAT, ForgettingProbe, general_knowledge, kept_probe, prose_logprobs

CHOICES = load_general_choices()[::10]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forgetting")


@pytest.fixture(scope="module")
def llm(folder: Path) -> ChatTransformers:
    base = save_llama(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKSHOP_DTYPE", "float32")
        return cast(ChatTransformers, load_llm(str(base), backend="transformers", adapter=None))


@pytest.fixture(scope="module")
def tuned(llm: ChatTransformers, folder: Path) -> ChatTransformers:
    return llm.with_adapter(save_lora(folder / "adapter", folder / "base"))


def likelihoods(llm: ChatTransformers, question: str, choices: Sequence[str]) -> list[float]:
    """The slow way: the whole text, once for each choice."""
    import torch

    encode = llm.engine.tokenizer.encode
    start = len(encode(f"Question: {question}\nAnswer:"))
    found = []
    with torch.inference_mode():
        llm.engine.activate(llm.adapter)
        for choice in choices:
            ids = torch.tensor([encode(f"Question: {question}\nAnswer: {choice}")])
            scores = llm.engine.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            found.append(float(scores[start - 1 :].sum()))
    return found


def test_the_likeliest_choice_is_taken(llm: ChatTransformers, tuned: ChatTransformers) -> None:
    slow = {
        model.adapter: [likelihoods(model, asked.question, asked.choices) for asked in CHOICES]
        for model in (llm, tuned)
    }
    for model in (llm, tuned):  # the other one was used last
        for asked, scores in zip(CHOICES, slow[model.adapter], strict=True):
            assert forgetting._choice_scores(model, asked) == pytest.approx(scores, abs=1e-3)
    for model in (llm, tuned):
        expected = [
            max(range(4), key=scores.__getitem__) == asked.choice
            for asked, scores in zip(CHOICES, slow[model.adapter], strict=True)
        ]
        assert general_knowledge(model, CHOICES) == expected


def test_choices_of_different_length_are_told_apart(llm: ChatTransformers) -> None:
    asked = replace(CHOICES[0], choices=("Paris", "a much longer choice than the others"), choice=0)
    expected = likelihoods(llm, asked.question, asked.choices)
    assert forgetting._choice_scores(llm, asked) == pytest.approx(expected, abs=1e-3)


def test_prose_is_scored_as_the_model_s_own_loss_does(llm: ChatTransformers, tuned: ChatTransformers) -> None:
    import torch

    paragraphs = load_prose()[:3]
    found = prose_logprobs(llm, paragraphs)
    with torch.inference_mode():
        llm.engine.activate(None)
        for paragraph, value in zip(paragraphs, found, strict=True):
            ids = torch.tensor([llm.engine.tokenizer.encode(paragraph.text, add_special_tokens=False)])
            assert value == pytest.approx(-float(llm.engine.model(ids, labels=ids).loss), abs=1e-4)
    assert prose_logprobs(tuned, paragraphs) != pytest.approx(found, abs=1e-3)
    assert prose_logprobs(llm, paragraphs) == pytest.approx(found)


def test_what_a_probe_says() -> None:
    found = ForgettingProbe((True, False, True, True), (-1.0, -3.0), (' {"device":', "Apples", "A {b}", "{}"))
    assert found.knowledge == 0.75
    assert found.perplexity == pytest.approx(math.exp(2))
    assert found.taken_over == (True, False, False, True)
    assert found.takeover == 0.5
    assert ForgettingProbe.from_dict(found.as_dict()) == found


def test_probes_are_kept_by_weights(
    llm: ChatTransformers, tuned: ChatTransformers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    def probe(model: ChatTransformers) -> ForgettingProbe:
        asked.append(model.adapter)
        return ForgettingProbe((True,), (float(-len(asked)),), ("yes",))

    monkeypatch.setattr(store, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(forgetting, "probe", probe)
    first, second = kept_probe(llm), kept_probe(tuned)
    assert first != second
    assert (kept_probe(llm), kept_probe(tuned)) == (first, second)
    assert asked == [None, tuned.adapter]
    monkeypatch.setattr(forgetting, "CHAT", (*CHAT, "Another."))
    assert kept_probe(llm) not in (first, second)
