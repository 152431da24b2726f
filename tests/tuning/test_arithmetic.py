"""What is counted is what the model and PEFT have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.errors import InputError
from workshop_utils.models import store
from workshop_utils.tuning.arithmetic import (
    Shape,
    activation_memory,
    gemm_peak,
    lora_parameters,
    training_flop,
    training_memory,
)
from workshop_utils.tuning.settings import ATTENTION, LINEAR, MLP


@pytest.fixture(scope="module")
def shape() -> Shape:
    return Shape.of(json.loads((store.llm_dir() / "config.json").read_text("utf-8")))


def loaded(folder: Path) -> Any:
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def test_the_weights_of_the_workshop_s_model(shape: Shape) -> None:
    from safetensors import safe_open

    with safe_open(store.llm_dir() / "model.safetensors", framework="numpy") as file:
        sizes = [file.get_slice(name).get_shape() for name in file.keys() if name != "lm_head.weight"]  # noqa: SIM118
    assert shape.parameters == sum(size[0] * (size[1] if len(size) > 1 else 1) for size in sizes)
    assert shape.parameters == pytest.approx(134.5e6, rel=1e-3)


def test_the_weights_of_a_model_with_an_output_layer_of_its_own(tiny_llama: Path) -> None:
    model = loaded(tiny_llama)
    tied = Shape.of(model.config)
    assert tied.parameters == sum(weight.numel() for weight in model.parameters())
    untied = Shape.of({**model.config.to_dict(), "tie_word_embeddings": False})
    assert untied.parameters - tied.parameters == model.get_output_embeddings().weight.numel()


@pytest.mark.parametrize("targets", [LINEAR, ATTENTION, MLP, ("q_proj", "v_proj")])
def test_the_weights_of_an_adapter_are_those_that_peft_makes(tiny_llama: Path, targets: tuple[str, ...]) -> None:
    import peft

    model = loaded(tiny_llama)
    tuned = peft.get_peft_model(
        model, peft.LoraConfig(r=3, target_modules=list(targets), layers_to_transform=[1], task_type="CAUSAL_LM")
    )
    made = sum(weight.numel() for name, weight in tuned.named_parameters() if "lora_" in name)
    assert lora_parameters(Shape.of(model.config), 3, targets, upper_layers=1) == made
    assert lora_parameters(Shape.of(model.config), 3, targets) == 2 * made


def test_a_layer_that_is_not_there(shape: Shape) -> None:
    with pytest.raises(InputError, match="no layer w_proj; choose from q_proj"):
        lora_parameters(shape, 8, ("w_proj",))


def test_full_fine_tuning_takes_sixteen_bytes_a_weight_in_any_precision(shape: Shape) -> None:
    for dtype in ("float32", "bfloat16"):
        assert sum(training_memory(shape, rank=None, dtype=dtype).values()) == 16 * shape.parameters
    lora = training_memory(shape, rank=8, upper_layers=15)
    assert sum(lora.values()) - 2 * shape.parameters == 16 * lora_parameters(shape, 8, upper_layers=15)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_those_that_a_forward_pass_keeps(tmp_path: Path, dtype: str) -> None:
    import torch
    import transformers

    from tests.tiny import save_llama
    from workshop_utils.tuning.adapting import with_adapter
    from workshop_utils.tuning.attention import short_text_attention
    from workshop_utils.tuning.loop import AnswerModel, collate
    from workshop_utils.tuning.settings import Settings

    folder = save_llama(tmp_path / "wide", layers=3, width=128)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    with_adapter(model, Settings(upper_layers=2, rank=1), None)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    rows = [{"input_ids": [5] * 60, "labels": [-100] * 58 + [5, 5]}] * 4
    with short_text_attention(model), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = AnswerModel(model)(**collate(rows))
    counted = activation_memory(Shape.of(model.config), tokens=240, length=60, upper_layers=2, dtype=dtype)
    assert sum(kept.values()) == pytest.approx(counted, rel=0.15)
    del loss


def test_operations(shape: Shape) -> None:
    per_layer, head = shape.layer_parameters, shape.vocabulary * shape.width
    full = training_flop(shape, tokens=10, learnt_tokens=2, upper_layers=None, full=True)
    assert full == 6 * (30 * per_layer * 10 + head * 2)
    half = training_flop(shape, tokens=10, learnt_tokens=2, upper_layers=15)
    assert half == 15 * per_layer * (4 + 2) * 10 + 4 * head * 2
    kept = training_flop(shape, tokens=10, learnt_tokens=2, upper_layers=15, frozen_passes=5)
    assert half - kept == 15 * per_layer * 2 * 5


def test_the_peak_is_above_what_no_machine_is_below() -> None:
    assert gemm_peak("float32") > 1e8
