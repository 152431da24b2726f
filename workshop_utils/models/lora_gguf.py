"""A LoRA adapter trained with PEFT, in the form that llama.cpp reads."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workshop_utils.models import store
from workshop_utils.models.transformers_chat import AdapterError, check_adapter

Array = np.ndarray[Any, np.dtype[np.float32]]

# change it with the format of what is written, so that adapters converted before are converted again
FORMAT = "1"
TENSOR = re.compile(
    r"(?:base_model\.model\.)?(model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+_proj))\.lora_(A|B)\.weight"
)
GGUF_NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
# value types in a GGUF header, by number, as format characters of struct
_SCALARS = dict(enumerate("BbHhIif?")) | dict(zip((10, 11, 12), "Qqd", strict=True))
_STRING, _ARRAY = 8, 9
# settings that are carried over, or do not change what a trained adapter computes; any other one is refused
UNDERSTOOD = {
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "bias", "init_lora_weights", "eva_config"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("lora_dropout", "inference_mode", "runtime_config", "qalora_group_size", "megatron_core"),
    *("task_type", "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision"),
}
# the other initialisations (pissa, olora, loftq ...) train against changed base weights
PLAIN_INITIALISATIONS = (True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class Base:
    """What an adapter must fit: head counts, and (inputs, outputs) of each weight by its name in the GGUF."""

    heads: int
    kv_heads: int
    shapes: dict[str, tuple[int, int]]

    @classmethod
    def read(cls, model: Path) -> Base:
        """From the header of a GGUF of the Llama architecture.

        Raises:
            AdapterError: the model is of another architecture, or no readable GGUF.
        """
        try:
            values, shapes = _header(model)
        except (OSError, struct.error, KeyError, ValueError, OverflowError, MemoryError) as error:
            raise AdapterError(f"Cannot read the header of {model} ({error}).") from error
        architecture = values.get("general.architecture")
        if architecture != "llama":
            raise AdapterError(
                f"{model.name} is of the architecture {architecture}; adapters for llama.cpp are converted for the "
                "Llama architecture only. Use backend='transformers'."
            )
        return cls(values["llama.attention.head_count"], values["llama.attention.head_count_kv"], shapes)


def cached(adapter: Path, model: Path) -> Path:
    """The adapter in GGUF form, converted on first use and kept in the cache under its hash.

    Args:
        adapter: folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        model: the GGUF of the base model.

    Raises:
        AdapterError: see ``convert_adapter``.
    """
    check_adapter(adapter)
    digest = hashlib.sha256(f"{FORMAT} {model.name} {model.stat().st_size}".encode())
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        digest.update(store.sha256(adapter / name).encode())
    out = store.cache_dir() / "adapters" / f"{digest.hexdigest()}.gguf"
    return out if out.is_file() else convert_adapter(adapter, out, model)


def convert_adapter(adapter: Path, out: Path, model: Path) -> Path:
    """Write a PEFT LoRA adapter as a GGUF adapter for llama.cpp, in float32; returns ``out``.

    Both forms store A, shape (rank, inputs), and B, shape (outputs, rank), of each adapted layer. Two things differ:

    - llama.cpp rotates the halves of a head interleaved, so the rows of B of ``q_proj`` and ``k_proj`` are permuted
      as its converter permutes the rows of the weights themselves.
    - llama.cpp scales by alpha / rank with one alpha; where PEFT scales otherwise (rsLoRA, ``alpha_pattern``), the
      difference goes into B.

    Args:
        adapter: folder with ``adapter_config.json`` and ``adapter_model.safetensors``.
        out: the file to write; it appears under its name only when it is complete.
        model: the GGUF of the base model.

    Raises:
        AdapterError: the adapter is damaged, was trained on another model, or has parts which llama.cpp cannot express.
    """
    config = check_adapter(adapter)
    _refuse_inexpressible(adapter, config)
    base = Base.read(model)
    layers = _read(adapter)
    tensors: dict[str, Array] = {}
    for name, (block, projection, a, b) in layers.items():
        weight = f"blk.{block}.{GGUF_NAMES[projection]}.weight"
        if base.shapes.get(weight) != (a.shape[1], b.shape[0]):
            raise AdapterError(
                f"The adapter in {adapter} was not trained on {model.name}: {name} maps {a.shape[1]} to {b.shape[0]} "
                f"there, and here {_words(base.shapes.get(weight))}."
            )
        rank = int(_pattern(config.get("rank_pattern"), name, config["r"]))
        if not a.shape[0] == b.shape[1] == rank:
            raise AdapterError(
                f"{adapter} is damaged: {name} should have rank {rank}, and has {a.shape[0]}, {b.shape[1]}."
            )
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise AdapterError(f"{adapter} holds values that are not numbers in {name}: its training diverged.")
        if projection == "q_proj":
            b = permute(b, base.heads)
        elif projection == "k_proj":
            b = permute(b, base.kv_heads)
        tensors[f"{weight}.lora_a"] = a
        tensors[f"{weight}.lora_b"] = b * np.float32(scaling(config, name, rank) * rank / config["lora_alpha"])
    _write(tensors, float(config["lora_alpha"]), out)
    return out


def permute(b: Array, heads: int) -> Array:
    """Rows of a projection reordered, within each head, from two halves (Hugging Face) to interleaved pairs (GGUF).

    Args:
        b: shape (heads * head size, rank).
        heads: of queries for ``q_proj``, of keys for ``k_proj``.
    """
    halves = b.reshape(heads, 2, b.shape[0] // heads // 2, b.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(b.shape))


def scaling(config: dict[str, Any], name: str, rank: int) -> float:
    """The factor that PEFT puts before B A x in the layer of that name."""
    alpha = float(_pattern(config.get("alpha_pattern"), name, config["lora_alpha"]))
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _pattern(patterns: dict[str, Any] | None, name: str, default: Any) -> Any:
    """The value for a layer: PEFT's patterns are ends of layer names, or regular expressions for them."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return default


def _refuse_inexpressible(adapter: Path, config: dict[str, Any]) -> None:
    found = [key for key, value in config.items() if value and key not in UNDERSTOOD]
    if config.get("bias", "none") != "none":
        found.append(f"bias={config['bias']}")
    if config.get("init_lora_weights", True) not in PLAIN_INITIALISATIONS:
        found.append(f"init_lora_weights={config['init_lora_weights']}")
    if found:
        raise AdapterError(
            f"The adapter in {adapter} uses {', '.join(found)}, which llama.cpp cannot express: "
            "use backend='transformers', or train plain LoRA."
        )
    if not config.get("lora_alpha"):
        raise AdapterError(f"{adapter / 'adapter_config.json'} has no lora_alpha: the adapter would do nothing.")


def _read(adapter: Path) -> dict[str, tuple[int, str, Array, Array]]:
    """Block number, projection, A and B of each adapted layer, by its name in the model."""
    from safetensors import safe_open

    halves: dict[str, dict[str, Array]] = {}
    places: dict[str, tuple[int, str]] = {}
    # through torch, since numpy has no bfloat16
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            match = TENSOR.fullmatch(key)
            if match is None or match[3] not in GGUF_NAMES:
                raise AdapterError(
                    f"The adapter in {adapter} changes {key}, which llama.cpp adapters cannot express. Use "
                    f"backend='transformers', or target only {', '.join(GGUF_NAMES)}."
                )
            halves.setdefault(match[1], {})[match[4]] = file.get_tensor(key).float().numpy()
            places[match[1]] = (int(match[2]), match[3])
    for name, pair in halves.items():
        if len(pair) < 2:
            raise AdapterError(f"{adapter} is damaged: {name} has only one of its two matrices.")
    return {name: (*places[name], pair["A"], pair["B"]) for name, pair in halves.items()}


def _header(model: Path) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The single values and the shapes of the matrices in a GGUF.

    ``gguf.GGUFReader`` would build 97,000 objects for the vocabulary first, which takes seconds.
    """
    with model.open("rb") as stream:

        def read(form: str) -> Any:
            (value,) = struct.unpack(f"<{form}", stream.read(struct.calcsize(form)))
            return value

        def read_value(kind: int) -> Any:
            if kind == _ARRAY:
                element, length = read("I"), read("Q")
                if element == _STRING:
                    for _ in range(length):
                        stream.seek(read("Q"), os.SEEK_CUR)
                else:
                    stream.seek(struct.calcsize(_SCALARS[element]) * length, os.SEEK_CUR)
                return None
            if kind == _STRING:
                return stream.read(read("Q")).decode()
            return read(_SCALARS[kind])

        read("I"), read("I")  # magic and version
        tensors, entries = read("Q"), read("Q")
        values = {read_value(_STRING): read_value(read("I")) for _ in range(entries)}
        shapes = {}
        for _ in range(tensors):
            name, dimensions = read_value(_STRING), read("I")
            shape = [read("Q") for _ in range(dimensions)]
            read("I"), read("Q")  # type and offset
            if dimensions == 2:
                shapes[name] = (shape[0], shape[1])
        return values, shapes


def _write(tensors: dict[str, Array], alpha: float, out: Path) -> None:
    from gguf import GGUFType, GGUFWriter, Keys

    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        writer = GGUFWriter(temporary, "llama")
        writer.add_type(GGUFType.ADAPTER)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        for name, tensor in tensors.items():
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(out)
    except OSError as error:
        raise AdapterError(
            f"Cannot write {out} ({error}). Free some space, or set WORKSHOP_CACHE to a folder that you may write to."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _words(shape: tuple[int, int] | None) -> str:
    return "there is no such layer" if shape is None else f"{shape[0]} to {shape[1]}"
