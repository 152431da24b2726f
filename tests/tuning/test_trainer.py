"""Training learns the answers, can be interrupted at any time, loses nothing, and leaves what the chat model reads."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.messages import HumanMessage
from safetensors.torch import load_file

from tests.tiny import CONTEXT, save_llama, save_lora
from workshop_utils.errors import InputError
from workshop_utils.models import device, store
from workshop_utils.models.adapters import READER
from workshop_utils.models.transformers_chat import WEIGHTS, AdapterError, ChatTransformers, Engine, check_adapter
from workshop_utils.tuning import run as subject
from workshop_utils.tuning.run import REPORT, DiskFullError, LossError, Progress, TrainingMemoryError
from workshop_utils.tuning.settings import LINEAR, Settings
from workshop_utils.tuning.supervised import IGNORED, Example, Row, TrainingDataError, encode_examples
from workshop_utils.tuning.trainer import train_adapter, train_full

FEW = Settings(upper_layers=1, rank=2, epochs=3, batch_size=2, learning_rate=1e-2)
EXAMPLES = [Example((HumanMessage("What? " * (n % 3) + f"What is {n}?"),), f"It is number {n}.") for n in range(7)]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    import transformers

    return encode_examples(transformers.AutoTokenizer.from_pretrained(store.llm_dir()), EXAMPLES)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    monkeypatch.setenv("WORKSHOP_DEVICE", "cpu")


def loss_of(base: Path, adapter: Path | None, rows: list[Row]) -> float:
    """With the adapter as the chat model has it."""
    from workshop_utils.tuning.loop import AnswerModel, mean_loss

    engine = Engine.load(str(base), device.choose(), local=True)
    engine.activate(adapter)
    return mean_loss(AnswerModel(engine.model), rows)


def stop_at(step: int) -> Callable[[Progress], None]:
    def watch(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return watch


def stop_first(steps: list[int], progress: Progress) -> None:
    steps.append(progress.step)
    raise KeyboardInterrupt


def test_the_loss_falls_and_the_adapter_is_safe_and_small(rows: list[Row], base: Path, tmp_path: Path) -> None:
    settings = replace(FEW, epochs=20)
    report = train_adapter(rows, tmp_path / "adapter", settings, dev=rows[:2], base=base)
    assert [step for step, _ in report["dev_loss"]] == [0, *range(4, 81, 4)]
    assert report["dev_loss"][-1][1] < 0.8 * report["dev_loss"][0][1]
    assert report["loss"][-1][1] < 0.8 * report["loss"][0][1]
    assert check_adapter(tmp_path / "adapter")["layers_to_transform"] == [1]
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert files == {WEIGHTS, "adapter_config.json", REPORT}
    assert json.loads((tmp_path / "adapter" / REPORT).read_text("utf-8")) == report
    assert {path.name for path in tmp_path.iterdir()} == {"adapter"}
    assert loss_of(base, None, rows[:2]) == pytest.approx(report["dev_loss"][0][1], abs=1e-3)
    assert loss_of(base, tmp_path / "adapter", rows[:2]) == pytest.approx(report["dev_loss"][-1][1], rel=0.01)


def test_the_report_counts(rows: list[Row], base: Path, tmp_path: Path) -> None:
    report = train_adapter(rows, tmp_path / "a", FEW, base=base)
    assert report["examples"] == len(rows)
    assert report["tokens"] == 3 * sum(len(row["labels"]) for row in rows)
    assert report["learnt_tokens"] == 3 * sum(label != IGNORED for row in rows for label in row["labels"])
    assert report["steps"] == 3 * math.ceil(len(rows) / 2)
    assert report["seconds"] > 0
    assert report["tokens_per_second"] > 0
    assert report["peak_mb"] is None or report["peak_mb"] > 50
    assert report["dev_loss"] == []
    assert Settings(**report["settings"]) == FEW


def test_adapters_are_small_on_disk_in_any_precision(rows: list[Row], base: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    train_adapter(rows, tmp_path / "a", FEW, base=base)
    with safe_open(tmp_path / "a" / WEIGHTS, framework="pt") as tensors:
        assert {str(tensors.get_tensor(name).dtype) for name in tensors.keys()} == {"torch.bfloat16"}  # noqa: SIM118


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_same_seed_gives_the_same_adapter(rows: list[Row], base: Path, tmp_path: Path, epochs: int) -> None:
    """With one epoch the frozen layers are gone through as it goes, with more once before."""
    settings = replace(FEW, epochs=epochs)
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        train_adapter(rows, tmp_path / name, replace(settings, seed=seed), base=base)
    one, two, three = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("one", "two", "three"))
    assert one == two != three


@pytest.mark.parametrize(
    ("dtype", "settings", "stop"),
    [
        ("float32", FEW, 7),
        ("bfloat16", replace(FEW, accumulate=2, batch_size=1), 7),
        ("float32", replace(FEW, patience=1), 9),
    ],
)
def test_an_interrupted_training_ends_with_the_same_weights(
    rows: list[Row],
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    settings: Settings,
    stop: int,
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", dtype)
    monkeypatch.setattr(subject, "SAVE_STEPS", 3)
    whole = train_adapter(rows, tmp_path / "whole", settings, dev=rows[:2], base=base)
    halves = tmp_path / "halves"
    with pytest.raises(KeyboardInterrupt):
        train_adapter(rows, halves, settings, dev=rows[:2], base=base, watch=stop_at(stop))
    assert not halves.exists()
    kept = tmp_path / "halves.checkpoints"
    assert (kept / f"checkpoint-{(stop - 1) // 3 * 3}").exists()
    # killed while it wrote the next one
    (kept / "checkpoint-99").mkdir()
    steps: list[int] = []
    again = train_adapter(
        rows, halves, settings, dev=rows[:2], base=base, watch=lambda progress: steps.append(progress.step)
    )
    assert steps[0] > (stop - 1) // 3 * 3
    assert (halves / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert (again["loss"], again["dev_loss"], again["steps"]) == (whole["loss"], whole["dev_loss"], whole["steps"])
    assert not kept.exists()


def test_other_settings_or_data_begin_anew(
    rows: list[Row], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "SAVE_STEPS", 3)
    for name, settings, data in (("rate", replace(FEW, learning_rate=2e-2), rows), ("data", FEW, rows[::-1])):
        with pytest.raises(KeyboardInterrupt):
            train_adapter(rows, tmp_path / name, FEW, base=base, watch=stop_at(7))
        steps: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            train_adapter(data, tmp_path / name, settings, base=base, watch=partial(stop_first, steps))
        assert steps == [1]


def test_who_watches_is_told_each_step(rows: list[Row], base: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    report = train_adapter(rows, tmp_path / "a", FEW, dev=rows[:2], base=base, watch=told.append)
    # a development loss is told besides
    assert [progress.step for progress in told] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12]
    assert {progress.steps for progress in told} == {12}
    assert math.isnan(told[0].loss)
    assert told[-1].loss == pytest.approx(report["loss"][-1][1], abs=1e-3)
    assert told[0].dev_loss == pytest.approx(report["dev_loss"][0][1], abs=1e-3)
    assert told[-1].dev_loss == pytest.approx(report["dev_loss"][-1][1], abs=1e-3)
    assert told[-1].seconds_left == 0
    assert told[3].seconds_left > 0
    assert [progress.seconds for progress in told] == sorted(progress.seconds for progress in told)
    assert told[-1].tokens_per_second > 0


def test_accumulated_batches_count_as_one(rows: list[Row], base: Path, tmp_path: Path) -> None:
    """All examples in every step, of which unlike numbers of tokens are learnt: the same however a step is cut."""
    some: list[Row] = []
    for n, row in enumerate(rows[:4]):
        ids = row["input_ids"][-12 - 9 * n :]
        some.append({"input_ids": ids, "labels": [IGNORED] * (len(ids) - 2 - 6 * n) + ids[-2 - 6 * n :]})
    one = replace(FEW, batch_size=4, epochs=10)
    reports = [
        train_adapter(some, tmp_path / str(cut), replace(one, batch_size=4 // cut, accumulate=cut), dev=some, base=base)
        for cut in (1, 2, 4)
    ]
    for report in reports[1:]:
        assert report["steps"] == reports[0]["steps"] == 10
        assert report["dev_loss"][-1][1] == pytest.approx(reports[0]["dev_loss"][-1][1], rel=1e-4)


def test_it_stops_when_nothing_gets_better_and_keeps_the_best(rows: list[Row], base: Path, tmp_path: Path) -> None:
    other = [{**row, "labels": [label if label == IGNORED else 500 + n for n, label in enumerate(row["labels"])]}
             for row in rows[:2]]  # fmt: skip
    settings = replace(FEW, epochs=30, patience=2, learning_rate=3e-2)
    report = train_adapter(rows, tmp_path / "a", settings, dev=[*rows[2:4], *other], base=base)
    losses = [loss for _, loss in report["dev_loss"]]
    best = losses.index(min(losses))
    assert best == len(losses) - 3 < 25
    assert losses[0] > losses[best] < losses[-1]
    assert loss_of(base, tmp_path / "a", [*rows[2:4], *other]) == pytest.approx(losses[best], rel=0.01)


def test_development_losses_as_often_as_asked(rows: list[Row], base: Path, tmp_path: Path) -> None:
    report = train_adapter(rows, tmp_path / "a", replace(FEW, dev_every=5), dev=rows[:2], base=base)
    assert [step for step, _ in report["dev_loss"]] == [0, 5, 10, 12]


def test_training_goes_on_from_an_adapter(rows: list[Row], base: Path, tmp_path: Path) -> None:
    train_adapter(rows, tmp_path / "one", replace(FEW, epochs=15), base=base)
    again = train_adapter(rows, tmp_path / "two", FEW, dev=rows, base=base, start_from=tmp_path / "one")
    fresh = train_adapter(rows, tmp_path / "three", FEW, dev=rows, base=base)
    assert again["dev_loss"][0][1] < 0.9 * fresh["dev_loss"][0][1]
    assert again["dev_loss"][-1][1] < again["dev_loss"][0][1]


def test_a_loaded_model_is_lent_and_given_back(rows: list[Row], base: Path, tmp_path: Path) -> None:
    import torch

    engine = Engine.load(str(base), device.choose(), local=True)
    chat = ChatTransformers(engine=engine, max_tokens=8)
    other = chat.with_adapter(save_lora(tmp_path / "other", base))
    question = [HumanMessage("What is 3?")]
    plain, with_other = chat.invoke(question).content, other.invoke(question).content
    assert plain != with_other
    before = {name: weight.detach().clone() for name, weight in engine.model.named_parameters()}
    train_adapter(rows, tmp_path / "lent", FEW, base=engine)
    assert all(weight.grad is None for weight in engine.model.parameters())
    assert not engine.model.training
    assert engine.model.config._attn_implementation == "sdpa"
    assert engine.model.config.use_cache
    # its other adapter comes back when somebody asks for it
    assert (chat.invoke(question).content, other.invoke(question).content) == (plain, with_other)
    after = dict(engine.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    train_adapter(rows, tmp_path / "own", FEW, base=base)
    assert (tmp_path / "lent" / WEIGHTS).read_bytes() == (tmp_path / "own" / WEIGHTS).read_bytes()
    assert chat.invoke(question).content == plain
    assert other.invoke(question).content == with_other
    chat.with_adapter(tmp_path / "lent").invoke(question)


def test_a_lent_model_is_given_back_after_an_interruption(rows: list[Row], base: Path, tmp_path: Path) -> None:
    engine = Engine.load(str(base), device.choose(), local=True)
    chat = ChatTransformers(engine=engine, max_tokens=8)
    answer = chat.invoke([HumanMessage("What is 3?")]).content
    with pytest.raises(KeyboardInterrupt):
        train_adapter(rows, tmp_path / "a", FEW, base=engine, watch=stop_at(3))
    assert chat.invoke([HumanMessage("What is 3?")]).content == answer
    assert not any("lora" in name for name, _ in engine.model.named_parameters())
    assert all(weight.requires_grad for weight in engine.model.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_weights_can_be_trained(
    rows: list[Row], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setenv("WORKSHOP_DTYPE", dtype)
    report = train_full(rows, tmp_path / "full", replace(FEW, learning_rate=3e-3), dev=rows[:2], base=base)
    assert report["dev_loss"][-1][1] < 0.8 * report["dev_loss"][0][1]
    assert report["settings"]["upper_layers"] is None
    stored = load_file(tmp_path / "full" / "model.safetensors")
    # what was learnt is not rounded off, and the tied head is not written beside the embeddings
    assert {weight.dtype for weight in stored.values()} == {torch.float32}
    assert sum(weight.numel() for weight in stored.values()) == report["parameters"]
    assert any((weight != weight.bfloat16()).any() for weight in stored.values())
    engine = Engine.load(str(tmp_path / "full"), device.choose(), local=True)
    assert report["parameters"] == sum(weight.numel() for weight in engine.model.parameters())
    ChatTransformers(engine=engine, max_tokens=4).invoke([HumanMessage("What is 3?")])
    assert loss_of(tmp_path / "full", None, rows[:2]) == pytest.approx(report["dev_loss"][-1][1], rel=0.02)


def test_nothing_to_learn_from_is_told(rows: list[Row], base: Path, tmp_path: Path) -> None:
    def train(*data: Row, dev: tuple[Row, ...] = ()) -> None:
        train_adapter(data, tmp_path / "a", FEW, dev=dev, base=base)

    with pytest.raises(TrainingDataError, match="no examples"):
        train()
    silent: Row = {"input_ids": [1, 2], "labels": [IGNORED, IGNORED]}
    with pytest.raises(TrainingDataError, match="training example 2 has nothing to learn"):
        train(rows[0], silent)
    with pytest.raises(TrainingDataError, match="development example 1 has nothing to learn"):
        train(rows[0], dev=(silent,))
    long: Row = {"input_ids": [5] * (CONTEXT + 1), "labels": [5] * (CONTEXT + 1)}
    with pytest.raises(TrainingDataError, match="example 2 has 513 tokens, and the model reads 512"):
        train(rows[0], long)
    with pytest.raises(TrainingDataError, match="not one label for each token"):
        train({"input_ids": [1, 2], "labels": [1]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"batch_size": 0}, {"learning_rate": -1.0}, {"epochs": math.nan}])
def test_settings_that_cannot_be_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


def test_the_tied_output_layer_gets_no_adapter() -> None:
    with pytest.raises(InputError, match="lm_head"):
        Settings(targets=("q_proj", "lm_head"))


def test_a_loss_that_is_no_number_stops_training_and_keeps_what_was_good(
    rows: list[Row], base: Path, tmp_path: Path
) -> None:
    before = train_adapter(rows, tmp_path / "a", FEW, base=base)
    wild = replace(FEW, learning_rate=1e30, epochs=8)
    with pytest.raises(LossError, match=r"became nan in step \d+.*last good weights are in .*a\.last_good.*Lower the"):
        train_adapter(rows, tmp_path / "a", wild, base=base)
    assert json.loads((tmp_path / "a" / REPORT).read_text("utf-8")) == before
    assert math.isfinite(loss_of(base, tmp_path / "a.last_good", rows))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.last_good"}


@pytest.mark.parametrize(
    "error", [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), MemoryError()]
)
def test_too_little_memory_becomes_advice(
    rows: list[Row], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from workshop_utils.tuning import loop

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(loop.AnswerModel, "forward", fail)
    with pytest.raises(TrainingMemoryError, match=r"batch_size=4 with accumulate=2.*fewer upper_layers.*shorter texts"):
        train_adapter(rows, tmp_path / "a", replace(FEW, batch_size=8, upper_layers=2), base=base)


def test_a_full_disk_loses_nothing(
    rows: list[Row], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peft
    import torch

    monkeypatch.setattr(subject, "SAVE_STEPS", 3)
    train_adapter(rows, tmp_path / "a", FEW, base=base)
    before = (tmp_path / "a" / WEIGHTS).read_bytes()
    longer = replace(FEW, epochs=4)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_torch(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed writing file")

    # at the end, and in a checkpoint
    for owner, name, fail in ((peft.PeftModel, "save_pretrained", full), (torch, "save", full_torch)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(DiskFullError, match=r"is as it was before.*Free some space"):
                train_adapter(rows, tmp_path / "a", longer, base=base)
        assert (tmp_path / "a" / WEIGHTS).read_bytes() == before
        longer = replace(longer, seed=1)
    steps: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(peft.PeftModel, "save_pretrained", full)
        with pytest.raises(DiskFullError):
            train_adapter(rows, tmp_path / "a", FEW, base=base)
    train_adapter(rows, tmp_path / "a", FEW, base=base, watch=lambda progress: steps.append(progress.step))
    assert steps == []
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


def test_an_adapter_to_go_on_from_must_fit(rows: list[Row], base: Path, tmp_path: Path) -> None:
    other = save_lora(tmp_path / "lora", save_llama(tmp_path / "wide", width=32))
    deep = save_lora(tmp_path / "deep_lora", save_llama(tmp_path / "deep", layers=3))
    for adapter in (other, deep):
        with pytest.raises(AdapterError, match="not trained on this model"):
            train_adapter(rows, tmp_path / "a", FEW, base=base, start_from=adapter)
    (other / WEIGHTS).write_bytes(b"spoilt")
    with pytest.raises(AdapterError, match="damaged"):
        train_adapter(rows, tmp_path / "a", FEW, base=base, start_from=other)
    with pytest.raises(AdapterError, match="not an adapter"):
        train_adapter(rows, tmp_path / "a", FEW, base=base, start_from=tmp_path / "none")
    assert not (tmp_path / "a").exists()


def test_the_reader_s_report_can_be_read() -> None:
    report = json.loads((READER / REPORT).read_text("utf-8"))
    settings = Settings(**report["settings"])
    assert (settings.rank, settings.targets, settings.patience) == (10, LINEAR, None)
