"""One loader for every model, and the weights that it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_openai import ChatOpenAI

from tests import tiny
from workshop_utils.models import device, store
from workshop_utils.models import llm as loader
from workshop_utils.models.adapters import READER
from workshop_utils.models.llm import count_tokens, load_llm
from workshop_utils.models.transformers_chat import WEIGHTS, AdapterError, ChatTransformers, check_adapter


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORKSHOP_LLM", "WORKSHOP_BACKEND", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    monkeypatch.setenv("WORKSHOP_DEVICE", "cpu")


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Path | None, int]]:
    """What ``load_llm`` would load, without loading it: backend, setting, adapter, longest answer."""
    calls: list[tuple[str, str, Path | None, int]] = []

    def note(backend: str) -> Any:
        return lambda setting, adapter, max_tokens: calls.append((backend, setting, adapter, max_tokens))

    monkeypatch.setattr(loader, "_llama_cpp", note("llama.cpp"))
    monkeypatch.setattr(loader, "_transformers", note("transformers"))
    monkeypatch.setattr(loader, "_endpoint", note("endpoint"))
    return calls


@pytest.mark.parametrize(
    ("setting", "backend", "wheel", "name", "expected"),
    [
        (None, None, True, "cpu", "llama.cpp"),
        (None, None, False, "cpu", "transformers"),
        (None, None, True, "cuda", "transformers"),
        (None, "transformers", True, "cpu", "transformers"),
        (None, "llama.cpp", False, "cpu", "llama.cpp"),
        ("owner/model", None, True, "cpu", "transformers"),
        ("folder/model.gguf", None, False, "cuda", "llama.cpp"),
        ("https://example.org/v1#big", None, True, "cpu", "endpoint"),
        ("http://localhost:8080/v1", "auto", True, "cpu", "endpoint"),
    ],
)
def test_the_backend_follows_setting_and_machine(
    setting: str | None,
    backend: Any,
    wheel: bool,
    name: str,
    expected: str,
    chosen: list[tuple[str, str, Path | None, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loader, "has_llama_cpp", lambda: wheel)
    monkeypatch.setattr(device, "choose", lambda: device.Device(name, "float32", "test"))
    load_llm(setting, backend=backend, adapter="a/b", max_tokens=7)
    assert chosen == [(expected, setting or "", Path("a/b"), 7)]


def test_the_environment_chooses_where_the_call_does_not(
    chosen: list[tuple[str, str, Path | None, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_LLM", "owner/theirs")
    monkeypatch.setenv("WORKSHOP_BACKEND", "transformers")
    load_llm()
    load_llm("x.gguf", backend="llama.cpp")
    assert [call[:2] for call in chosen] == [("transformers", "owner/theirs"), ("llama.cpp", "x.gguf")]


def test_the_default_model_has_the_reader_and_no_other_model_has(
    chosen: list[tuple[str, str, Path | None, int]],
) -> None:
    load_llm()
    load_llm(adapter=None)
    load_llm("owner/larger")
    load_llm("https://example.org/v1#big")
    load_llm("owner/larger", adapter="theirs")
    assert [call[2] for call in chosen] == [READER, None, None, None, Path("theirs")]


def test_the_reader_is_there_and_fits_the_model() -> None:
    config = check_adapter(READER)
    assert config["base_model_name_or_path"] == "SmolLM2-135M-Instruct"
    assert (READER / WEIGHTS).stat().st_size < 5e6


@pytest.mark.parametrize("backend", ["llamacpp", "vllm", "Transformers"])
def test_an_unknown_backend_is_refused_with_the_choice(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=f"'{backend}'; it must be one of auto, transformers, llama.cpp"):
        load_llm(backend=backend)
    monkeypatch.setenv("WORKSHOP_BACKEND", backend)
    with pytest.raises(ValueError, match="must be one of"):
        load_llm()


def test_a_gguf_with_transformers_is_refused_with_the_right_backend() -> None:
    with pytest.raises(ValueError, match=r"model.gguf is a GGUF file.*backend='llama.cpp'"):
        load_llm("model.gguf", backend="transformers")


def test_a_folder_with_llama_cpp_is_refused_with_the_right_backend(tiny_llama: Path) -> None:
    with pytest.raises(ValueError, match=r"reads GGUF files.*backend='transformers'"):
        load_llm(str(tiny_llama), backend="llama.cpp")


def test_an_endpoint_chooses_its_adapters_itself() -> None:
    with pytest.raises(ValueError, match="after '#' in the URL"):
        load_llm("http://localhost:8080/v1", adapter="some/adapter")


def test_an_endpoint_gets_url_model_key_and_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    chat = load_llm("http://localhost:8080/v1#org/model", max_tokens=9)
    assert isinstance(chat, ChatOpenAI)
    assert (chat.openai_api_base, chat.model_name) == ("http://localhost:8080/v1", "org/model")
    assert (chat.temperature, chat.max_tokens) == (0.0, 9)
    assert "sk-secret" not in repr(chat)
    monkeypatch.delenv("OPENAI_API_KEY")
    plain = load_llm("http://localhost:8080/v1")
    assert isinstance(plain, ChatOpenAI)
    assert plain.model_name == "default"


def test_a_local_folder_in_the_hubs_form_is_loaded_with_an_adapter(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = tiny.save_lora(tmp_path / "adapter", tiny_llama)
    base = load_llm(str(tiny_llama), max_tokens=5)
    tuned = load_llm(str(tiny_llama), adapter=adapter, max_tokens=5)
    assert isinstance(base, ChatTransformers)
    assert isinstance(tuned, ChatTransformers)
    assert (tuned.adapter, tuned.max_tokens) == (adapter, 5)
    assert base.invoke("hi").content != tuned.invoke("hi").content


def test_a_wrong_adapter_is_named_when_loading(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="nowhere is not an adapter"):
        load_llm(str(tiny_llama), adapter=tmp_path / "nowhere")


def test_the_default_model_answers(llm: ChatTransformers) -> None:
    assert llm.engine.model.dtype == torch.float32
    assert llm.engine.model.config.num_hidden_layers == 30
    assert "Paris" in str(llm.invoke("What is the capital of France?", max_tokens=12).content)


def test_tokens_are_counted_by_the_model_or_estimated(tiny_llama: Path) -> None:
    assert count_tokens(load_llm(str(tiny_llama)), "hello world") == 2
    endpoint = load_llm("http://localhost:1/v1")
    text = "A sentence of ordinary English words, which any tokenizer cuts into fewer pieces than this."
    assert len(text) / 6 < count_tokens(endpoint, text) < len(text) / 2


# -- the converted weights --


def rows_of_hub(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp interleaves the two halves of each head's rows for its rotary embedding; this undoes it."""
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    import gguf

    return {tensor.name: tensor for tensor in gguf.GGUFReader(store.llm_gguf()).tensors}


@pytest.mark.parametrize(
    ("in_gguf", "in_safetensors", "heads"),
    [
        ("token_embd.weight", "model.embed_tokens.weight", 0),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", 9),
        ("blk.29.attn_k.weight", "model.layers.29.self_attn.k_proj.weight", 3),
        ("blk.11.attn_v.weight", "model.layers.11.self_attn.v_proj.weight", 0),
        ("blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight", 0),
        ("blk.15.attn_norm.weight", "model.layers.15.input_layernorm.weight", 0),
        ("output_norm.weight", "model.norm.weight", 0),
    ],
)
def test_the_converted_weights_are_those_of_the_gguf(
    in_gguf: str, in_safetensors: str, heads: int, tensors: dict[str, Any]
) -> None:
    import gguf
    from safetensors import safe_open

    exact = gguf.dequantize(tensors[in_gguf].data, tensors[in_gguf].tensor_type)
    expected = torch.from_numpy(exact.copy()).to(torch.bfloat16)
    with safe_open(store.llm_dir() / "model.safetensors", framework="pt") as converted:
        assert len(converted.keys()) == len(tensors)
        got = converted.get_tensor(in_safetensors)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, rows_of_hub(expected, heads) if heads else expected)
    assert not heads or not torch.equal(got, expected)
