"""Joined adapters: the sum of both, whatever layers each of them has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import save_lora
from workshop_utils.models import device
from workshop_utils.models.transformers_chat import WEIGHTS, AdapterError, Engine
from workshop_utils.tuning.joining import join_adapters


def upper_only(folder: Path) -> Path:
    """The same adapter without its first layer."""
    from safetensors.torch import load_file, save_file

    save_file({name: one for name, one in load_file(folder / WEIGHTS).items() if "layers.1." in name}, folder / WEIGHTS)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"layers_to_transform": [1]}), "utf-8")
    return folder


def test_the_joined_adapter_adds_what_both_add(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from peft.tuners.lora import Linear

    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    one = upper_only(save_lora(tmp_path / "one", tiny_llama, seed=1))
    other = save_lora(tmp_path / "other", tiny_llama, seed=2, targets=("q_proj", "down_proj"))
    joined = join_adapters([one, other], tmp_path / "joined")
    engine = Engine.load(str(tiny_llama), device.choose(), local=True)
    for folder in (one, other, joined):
        engine.activate(folder)
    names = [engine.adapters[key] for folder in (one, other, joined) for key in engine.adapters if key[0] == folder]
    seen = 0
    for layer in engine.model.modules():
        if isinstance(layer, Linear):
            *apart, together = (layer.get_delta_weight(name) if name in layer.lora_A else None for name in names)
            assert together is not None
            wanted = torch.zeros_like(together)
            for change in apart:
                if change is not None:
                    wanted += change
                    seen += 1
            assert torch.allclose(together, wanted, atol=1e-6)
    assert seen == 6  # of the one: q and v of the upper layer; of the other: q and down of both


def test_joining_one_adapter_changes_nothing_in_what_it_answers(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    one = save_lora(tmp_path / "one", tiny_llama)
    engine = Engine.load(str(tiny_llama), device.choose(), local=True)
    found = []
    for folder in (one, join_adapters([one], tmp_path / "joined"), None):
        with engine.using(folder):
            found.append(engine.model(torch.tensor([[5, 6, 7]])).logits)
    assert torch.allclose(found[0], found[1], atol=1e-4)
    assert not torch.allclose(found[0], found[2], atol=1e-2)


def test_what_cannot_be_joined_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = save_lora(tmp_path / "one", tiny_llama)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"rank_pattern": {"q_proj": 2}}), "utf-8")
    with pytest.raises(AdapterError, match="differ from layer to layer"):
        join_adapters([folder], tmp_path / "joined")
    with pytest.raises(AdapterError, match="not an adapter"):
        join_adapters([tmp_path / "nothing"], tmp_path / "joined")
