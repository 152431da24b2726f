"""Several adapters in one, which adds to each layer what all of them add."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workshop_utils.models.transformers_chat import WEIGHTS, AdapterError, check_adapter

# base_model.model.model.layers.6.self_attn.k_proj.lora_A.weight
NAME = re.compile(r"(?P<before>.*\.layers)\.(?P<layer>\d+)\.(?P<module>.*)\.lora_[AB]\.weight")


def join_adapters(folders: Sequence[Path], to: Path) -> Path:
    """Write one adapter whose change of each weight is the sum of those of the given ones.

    The ranks add up: rows of A and columns of B stand side by side, each B with its own scaling in it, and zeros where
    an adapter leaves a layer alone. PEFT's ``add_weighted_adapter(..., combination_type="cat")`` does the same to
    adapters of the same layers only.

    Args:
        folders: LoRA adapters of one base model.
        to: the folder of the new one.

    Returns:
        ``to``.

    Raises:
        AdapterError: a folder holds no LoRA adapter, or one whose ranks or scaling differ from layer to layer.
    """
    import torch
    from safetensors.torch import load_file, save_file

    configs = [_config(folder) for folder in folders]
    weights = [load_file(folder / WEIGHTS) for folder in folders]
    places = [_place(name) for one in weights for name in one]
    layers, modules = sorted({place[1] for place in places}), sorted({place[2] for place in places})
    joined = {}
    for module in modules:
        # inputs and outputs of the module, the same in all layers
        down, up = (_first(weights, places[0][0], layers, module, part) for part in "AB")
        for layer in layers:
            first, second = (_name(places[0][0], layer, module, part) for part in "AB")
            pairs = [
                (
                    one.get(first, down.new_zeros(config["r"], down.shape[1])),
                    one.get(second, up.new_zeros(up.shape[0], config["r"])) * (config["lora_alpha"] / config["r"]),
                )
                for config, one in zip(configs, weights, strict=True)
            ]
            joined[first] = torch.cat([a for a, _ in pairs])
            joined[second] = torch.cat([b for _, b in pairs], dim=1)
    rank = sum(config["r"] for config in configs)
    config = configs[0] | {
        "r": rank,
        "lora_alpha": rank,
        "layers_to_transform": layers,
        "target_modules": sorted({module.rpartition(".")[2] for module in modules}),
    }
    to.mkdir(parents=True, exist_ok=True)
    save_file(joined, to / WEIGHTS)
    (to / "adapter_config.json").write_text(json.dumps(config, indent=1), "utf-8")
    return to


def _config(folder: Path) -> dict[str, Any]:
    config = check_adapter(folder)
    if any(config.get(name) for name in ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora")):
        raise AdapterError(f"The ranks or scaling of {folder} differ from layer to layer; it cannot be joined.")
    return config


def _place(name: str) -> tuple[str, int, str]:
    found = NAME.fullmatch(name)
    if found is None:
        raise AdapterError(f"{name} is not a LoRA tensor of a numbered layer.")
    return found["before"], int(found["layer"]), found["module"]


def _name(before: str, layer: int, module: str, part: str) -> str:
    return f"{before}.{layer}.{module}.lora_{part}.weight"


def _first(weights: Sequence[dict[str, Any]], before: str, layers: Sequence[int], module: str, part: str) -> Any:
    names = [_name(before, layer, module, part) for layer in layers]
    return next(one[name] for one in weights for name in names if name in one)
