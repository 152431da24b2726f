"""LoRA adapters for llama.cpp: the same model as PEFT makes, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langchain_core.messages import HumanMessage
from safetensors.torch import load_file, save_file

from workshop_utils.models import lora_gguf, store
from workshop_utils.models.llama_cpp import ChatLlamaCpp, LlamaCppError
from workshop_utils.models.lora_gguf import Base, cached, convert_adapter, permute
from workshop_utils.models.transformers_chat import AdapterError

pytest.importorskip("xllamacpp")

PROMPTS = [
    "The capital of France is",
    "How long may an infusion pump run on battery?",
    "Write a haiku about spring.",
    "def fibonacci(n):",
    "List three fruits.",
]
TOP = 20
# Root mean square difference of the log-probabilities of the TOP likeliest tokens. Without any adapter it is 0.10,
# because llama.cpp rounds activations to 8 bits; q and k permuted wrongly give 0.9.
TOLERANCE = 0.2


@pytest.fixture(scope="module")
def llm() -> ChatLlamaCpp:
    return ChatLlamaCpp(store.llm_gguf(), max_tokens=16)


@pytest.fixture(scope="module")
def base() -> Any:
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(store.llm_dir(), dtype=torch.float32)
    return model.eval()


Save = Callable[..., tuple[Path, Any]]


@pytest.fixture(scope="module")
def save(base: Any, tmp_path_factory: pytest.TempPathFactory) -> Save:
    """A function that saves a random adapter and returns its folder and reference log-probabilities."""
    import peft

    def make(
        targets: list[str] | None = None, strength: float = 0.1, seed: int = 0, **options: Any
    ) -> tuple[Path, Any]:
        torch.manual_seed(seed)
        settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | options
        tuned: Any = peft.get_peft_model(
            base, peft.LoraConfig(target_modules=targets or list(lora_gguf.GGUF_NAMES), **settings)
        ).eval()
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                # without q and k as strong as this, a wrong permutation would hardly show
                torch.nn.init.normal_(weight, std=0.4 if ".q_proj." in name or ".k_proj." in name else strength)
        folder = tmp_path_factory.mktemp("adapter")
        tuned.save_pretrained(str(folder))
        reference = reference_logprobs(tuned)
        tuned.unload()
        return folder, reference

    return make


@pytest.fixture(scope="module")
def adapter(save: Save) -> tuple[Path, Any]:
    return save()


def prompt_ids() -> list[list[int]]:
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(store.llm_dir())
    return [
        list(
            tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)["input_ids"]
        )
        for text in PROMPTS
    ]


def reference_logprobs(model: Any) -> list[Any]:
    with torch.inference_mode():
        return [model(torch.tensor([ids])).logits[0, -1].log_softmax(-1) for ids in prompt_ids()]


def difference(llm: ChatLlamaCpp, reference: list[Any]) -> float:
    """Root mean square difference to the reference, over the likeliest next tokens of each prompt."""
    differences = []
    for ids, expected in zip(prompt_ids(), reference, strict=True):
        request = {"prompt": ids, "max_tokens": 1, "n_probs": TOP, "temperature": 0, "cache_prompt": False}
        answer = llm._engine._server.handle_completions(request | {"lora": llm._lora()})
        top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        differences += [float(expected[token["id"]]) - token["logprob"] for token in top]
    assert len(differences) == TOP * len(PROMPTS)
    return float(np.sqrt(np.mean(np.square(differences))))


# the same model as PEFT makes


def test_without_adapter_the_backends_agree(llm: ChatLlamaCpp, base: Any) -> None:
    assert difference(llm, reference_logprobs(base)) < TOLERANCE


def test_with_the_adapter_the_backends_agree(llm: ChatLlamaCpp, adapter: tuple[Path, Any]) -> None:
    folder, reference = adapter
    assert difference(llm.with_adapter(folder), reference) < TOLERANCE
    assert difference(llm, reference) > 4 * TOLERANCE  # the adapter does change the model


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b, _: b,
        lambda b, heads: np.ascontiguousarray(b.reshape(heads, -1, 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)),
        lambda b, heads: permute(b, 1 if heads == 9 else heads),
        lambda b, heads: permute(b, 9) if heads == 9 else b,
    ],
    ids=["none", "the other way", "wrong heads", "k forgotten"],
)
def test_a_wrong_permutation_would_show(
    llm: ChatLlamaCpp, adapter: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Any
) -> None:
    folder, reference = adapter
    monkeypatch.setattr(lora_gguf, "permute", wrong)
    out = convert_adapter(folder, tmp_path / "wrong.gguf", store.llm_gguf())
    assert difference(llm.with_adapter(out), reference) > 2 * TOLERANCE


def test_permute_by_hand() -> None:
    # two heads of size four: halves (0 1 | 2 3) become pairs (0 2) (1 3)
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert permute(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 32, r"layers\.1\d\.mlp\.up_proj": 1}, "rank_pattern": {"v_proj": 8}},
        {"targets": ["q_proj", "v_proj"], "layers_to_transform": list(range(15, 30))},
    ],
    ids=["rslora", "patterns", "upper layers"],
)
def test_scalings_and_partial_adapters_agree(llm: ChatLlamaCpp, save: Save, options: dict[str, Any]) -> None:
    folder, reference = save(**options)
    assert difference(llm.with_adapter(folder), reference) < TOLERANCE
    assert difference(llm, reference) > 1.5 * TOLERANCE


def test_bfloat16_weights(adapter: tuple[Path, Any], tmp_path: Path, llm: ChatLlamaCpp) -> None:
    folder, reference = adapter
    weights = {name: tensor.bfloat16() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    save_file(weights, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text((folder / "adapter_config.json").read_text("utf-8"), "utf-8")
    assert difference(llm.with_adapter(tmp_path), reference) < TOLERANCE


# switching


def test_switching_adapters(llm: ChatLlamaCpp, save: Save, adapter: tuple[Path, Any]) -> None:
    first, second = adapter[0], save(seed=1)[0]
    plain = llm.with_adapter(None)
    models = [plain, llm.with_adapter(first), llm.with_adapter(second)]
    assert all(model._engine is llm._engine for model in models)
    fresh = [ChatLlamaCpp(store.llm_gguf(), adapter=path, max_tokens=16) for path in (None, first, second)]
    expected = [model.invoke("Name three colours.").content for model in fresh]
    assert len(set(expected)) == 3
    for _ in range(2):
        assert [model.invoke("Name three colours.").content for model in models] == expected
    loaded = len(llm._engine.adapters)
    llm.with_adapter(first)
    assert len(llm._engine.adapters) == loaded  # not loaded twice


def test_an_answer_under_way_survives_the_loading_of_an_adapter(save: Save) -> None:
    llm = ChatLlamaCpp(store.llm_gguf(), max_tokens=16)
    stream = llm.stream("Name three colours.")
    begun = str(next(stream).content)
    llm.with_adapter(save(["v_proj"], seed=2)[0])
    answer = begun + "".join(str(piece.content) for piece in stream)
    assert answer == llm.invoke("Name three colours.").content


def test_the_encoded_prompt_does_not_depend_on_the_adapter(llm: ChatLlamaCpp, adapter: tuple[Path, Any]) -> None:
    assert llm.with_adapter(adapter[0]).encode([HumanMessage("hi")]) == llm.encode([HumanMessage("hi")])


# the cache


def test_cached(adapter: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = store.llm_gguf()
    monkeypatch.setattr(store, "cache_dir", lambda: tmp_path)
    out = cached(adapter[0], model)
    assert out.parent == tmp_path / "adapters"
    assert [path.name for path in out.parent.iterdir()] == [out.name]  # no temporary file is left
    written = out.stat().st_mtime_ns
    assert cached(adapter[0], model) == out
    assert out.stat().st_mtime_ns == written
    changed = tmp_path / "changed"
    copy(adapter[0], changed, lora_alpha=9)
    assert cached(changed, model) != out


def test_a_failed_write_leaves_nothing(
    adapter: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gguf

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(AdapterError, match="WORKSHOP_CACHE"):
        convert_adapter(adapter[0], tmp_path / "out" / "adapter.gguf", store.llm_gguf())
    assert not list((tmp_path / "out").iterdir())


# refusals


def copy(folder: Path, target: Path, change: Callable[[dict[str, Any]], None] | None = None, **options: Any) -> Path:
    """A copy of an adapter with other weights or another configuration."""
    target.mkdir()
    config = json.loads((folder / "adapter_config.json").read_text("utf-8")) | options
    (target / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    weights = load_file(folder / "adapter_model.safetensors")
    if change:
        change(weights)
    save_file(weights, target / "adapter_model.safetensors")
    return target


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save|whole modules"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"kasa_config": {"beta": 0.1}}, "kasa_config"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"trainable_token_indices": [5]}, "trainable_token_indices"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"r": 16}, "rank 16"),
        ({"peft_type": "IA3"}, "IA3"),
    ],
)
def test_what_llama_cpp_cannot_express_is_refused(
    adapter: tuple[Path, Any], tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    folder = copy(adapter[0], tmp_path / "adapter", **options)
    with pytest.raises(AdapterError, match=named):
        convert_adapter(folder, tmp_path / "out.gguf", store.llm_gguf())
    assert not (tmp_path / "out.gguf").exists()


Q = "base_model.model.model.layers.3.self_attn.q_proj"


def drop(weights: dict[str, Any]) -> None:
    del weights[f"{Q}.lora_B.weight"]


def poison(weights: dict[str, Any]) -> None:
    weights[f"{Q}.lora_A.weight"][0, 0] = float("nan")


def embed(weights: dict[str, Any]) -> None:
    weights["base_model.model.model.embed_tokens.lora_embedding_A"] = torch.zeros(4, 8)


def head(weights: dict[str, Any]) -> None:
    weights["base_model.model.lm_head.lora_A.weight"] = torch.zeros(4, 576)


def deeper(weights: dict[str, Any]) -> None:
    for half in "AB":
        weights[f"{Q.replace('.3.', '.30.')}.lora_{half}.weight"] = weights[f"{Q}.lora_{half}.weight"].clone()


def wider(weights: dict[str, Any]) -> None:
    weights[f"{Q}.lora_A.weight"] = torch.zeros(4, 960)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop, r"layers\.3\.self_attn\.q_proj has only one"),
        (poison, "training diverged"),
        (embed, "embed_tokens"),
        (head, "lm_head"),
        (deeper, "not trained on .* no such layer"),
        (wider, "not trained on .* maps 960 to 576 there, and here 576 to 576"),
    ],
)
def test_damaged_or_foreign_weights_are_refused(
    adapter: tuple[Path, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    folder = copy(adapter[0], tmp_path / "adapter", change)
    with pytest.raises(AdapterError, match=named):
        convert_adapter(folder, tmp_path / "out.gguf", store.llm_gguf())
    assert not (tmp_path / "out.gguf").exists()


def test_a_missing_folder_is_refused_and_the_model_stays_usable(llm: ChatLlamaCpp, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="nowhere"):
        llm.with_adapter(tmp_path / "nowhere")
    (tmp_path / "adapter.gguf").write_bytes(b"GGUF and nothing more")
    with pytest.raises(LlamaCppError, match=r"adapter\.gguf"):
        llm.with_adapter(tmp_path / "adapter.gguf")
    assert llm.invoke("hi", max_tokens=2).content


def test_a_base_of_another_architecture_is_refused(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "gpt2.gguf", "gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(AdapterError, match="gpt2"):
        Base.read(tmp_path / "gpt2.gguf")


def test_base_equals_what_the_gguf_package_reads() -> None:
    from gguf import GGUFReader

    reader = GGUFReader(store.llm_gguf())
    base = Base.read(store.llm_gguf())
    assert base.heads == reader.fields["llama.attention.head_count"].contents()
    assert base.kv_heads == reader.fields["llama.attention.head_count_kv"].contents()
    matrices = {tensor.name: tuple(tensor.shape.tolist()) for tensor in reader.tensors if len(tensor.shape) == 2}
    assert base.shapes == matrices


@pytest.mark.parametrize("size", [0, 10, 3000, 1_500_000])
def test_a_truncated_header_is_refused(tmp_path: Path, size: int) -> None:
    with store.llm_gguf().open("rb") as stream:
        (tmp_path / "model.gguf").write_bytes(stream.read(size))
    with pytest.raises(AdapterError, match="header"):
        Base.read(tmp_path / "model.gguf")
