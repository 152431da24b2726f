"""Training learns the answers and nothing else, can be interrupted, and leaves an adapter that both backends read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from tests.tiny import save_llama
from workshop_utils.models import store
from workshop_utils.models.transformers_chat import WEIGHTS, check_adapter
from workshop_utils.tuning import Example, Settings, encode_examples, train_adapter
from workshop_utils.tuning.supervised import IGNORED

FEW = Settings(upper_layers=1, rank=2, epochs=3, batch_size=2, learning_rate=1e-2)
EXAMPLES = [Example((HumanMessage(f"What is {n}?"),), f"It is number {n}.") for n in range(6)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(store.llm_dir())


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[dict[str, list[int]]]:
    return encode_examples(tokenizer, EXAMPLES)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("base"))


def test_only_the_answer_and_its_end_are_learnt(tokenizer: Any, rows: list[dict[str, list[int]]]) -> None:
    row = rows[3]
    assert len(row["input_ids"]) == len(row["labels"])
    learnt = [token for token in row["labels"] if token != IGNORED]
    assert tokenizer.decode(learnt) == f"It is number 3.{tokenizer.eos_token}"
    assert row["input_ids"][-len(learnt) :] == learnt
    assert "What is 3?" in tokenizer.decode(row["input_ids"][: -len(learnt)])


def test_the_loss_falls_and_the_adapter_is_safe_and_small(
    rows: list[dict[str, list[int]]], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    settings = Settings(upper_layers=1, rank=2, epochs=20, batch_size=2, learning_rate=1e-2)
    report = train_adapter(rows, tmp_path / "adapter", settings, dev=rows[:2], base=base)
    assert report["dev_loss"][-1] < 0.8 * report["dev_loss"][0]
    config = check_adapter(tmp_path / "adapter")
    assert config["layers_to_transform"] == [1]
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        WEIGHTS,
        "adapter_config.json",
        "training.json",
    }
    assert json.loads((tmp_path / "adapter" / "training.json").read_text("utf-8")) == report
    assert not (tmp_path / "adapter.checkpoints").exists()


def test_the_loss_is_that_of_the_answer_s_tokens(rows: list[dict[str, list[int]]], base: Path) -> None:
    """Logits for the learnt tokens alone give the loss of the whole sequence with the rest ignored."""
    import torch
    import transformers

    from workshop_utils.tuning.trainer import _collate, _completion_trainer

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    batch = _collate(rows)
    whole = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = torch.nn.functional.cross_entropy(
        whole[:, :-1].reshape(-1, whole.shape[-1]), batch["labels"][:, 1:].reshape(-1), ignore_index=IGNORED
    )
    got = _completion_trainer().compute_loss(None, model, dict(batch))
    assert float(got) == pytest.approx(float(expected), rel=1e-5)


def test_the_same_seed_gives_the_same_adapter(
    rows: list[dict[str, list[int]]], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    for name in ("one", "two"):
        train_adapter(rows, tmp_path / name, FEW, base=base)
    assert (tmp_path / "one" / WEIGHTS).read_bytes() == (tmp_path / "two" / WEIGHTS).read_bytes()


def test_training_goes_on_from_an_adapter(
    rows: list[dict[str, list[int]]], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    first = train_adapter(rows, tmp_path / "one", Settings(upper_layers=1, rank=2, epochs=15, batch_size=2), base=base)
    again = train_adapter(rows, tmp_path / "two", FEW, dev=rows, base=base, start_from=tmp_path / "one")
    fresh = train_adapter(rows, tmp_path / "three", FEW, dev=rows, base=base)
    assert again["dev_loss"][0] < fresh["dev_loss"][0]
    assert first["examples"] == len(rows)
