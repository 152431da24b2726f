"""One loader for every language model of the workshop."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urldefrag

from langchain_core.language_models import BaseChatModel

from workshop_utils.errors import InputError
from workshop_utils.models import device, store
from workshop_utils.models.adapters import READER

Backend = Literal["auto", "transformers", "llama.cpp"]
BACKENDS = ("auto", "transformers", "llama.cpp")


def load_tokenizer() -> Any:
    """The tokenizer of the default model, without the model.

    Raises:
        workshop_utils.models.store.ModelStoreError: the default model cannot be had.
    """
    import transformers

    return transformers.AutoTokenizer.from_pretrained(str(store.llm_dir()))


def load_llm(
    setting: str | None = None,
    *,
    backend: Backend | None = None,
    adapter: Path | str | None = "auto",
    max_tokens: int = 128,
) -> BaseChatModel:
    """A LangChain chat model: ``invoke``, ``stream`` and ``batch``; greedy, so that a lesson can be repeated.

    Args:
        setting: which model; ``WORKSHOP_LLM`` when None, and SmolLM2-135M-Instruct when that is not set either.
            A URL (``http://localhost:8080/v1#model-name``) is any OpenAI-compatible endpoint, whose key is read from
            ``OPENAI_API_KEY``; anything else is a local folder or a Hugging Face name (``owner/model``).
        backend: for the default model: ``llama.cpp`` answers one question at a time fastest, ``transformers`` has
            batches, log-probabilities and GPUs. ``auto`` (or ``WORKSHOP_BACKEND``) takes llama.cpp where its wheel is
            installed and there is no GPU.
        adapter: folder of a LoRA adapter trained on that model; None leaves the model untouched. ``auto`` gives the
            default model the workshop's reader, which was trained to read passages of other organisations, and any
            other model nothing.
        max_tokens: the longest answer.

    Raises:
        workshop_utils.errors.InputError: an unknown backend, or one that cannot serve this model.
        workshop_utils.models.store.ModelStoreError: the default model cannot be had.
        workshop_utils.models.transformers_chat.AdapterError: the adapter cannot be used.
    """
    chosen = setting or os.environ.get("WORKSHOP_LLM") or ""
    engine = backend or os.environ.get("WORKSHOP_BACKEND") or "auto"
    if engine not in BACKENDS:
        raise InputError(f"backend is {engine!r}; it must be one of {', '.join(BACKENDS)}.")
    if adapter == "auto":
        adapter = None if chosen else READER
    path = None if adapter is None else Path(adapter)
    if chosen.startswith(("http://", "https://")):
        return _endpoint(chosen, path, max_tokens)
    if engine == "auto" and chosen:
        engine = "llama.cpp" if chosen.endswith(".gguf") else "transformers"
    elif engine == "auto":
        engine = "llama.cpp" if has_llama_cpp() and device.choose().name == "cpu" else "transformers"
    if engine == "llama.cpp":
        return _llama_cpp(chosen, path, max_tokens)
    return _transformers(chosen, path, max_tokens)


def has_llama_cpp() -> bool:
    """Whether the llama.cpp backend is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def is_workshop_model(llm: BaseChatModel) -> bool:
    """Whether it is the default model, with whatever adapter: a larger one is asked otherwise."""
    parameters = llm._identifying_params
    name = Path(str(parameters.get("model_path") or parameters.get("model"))).name
    return name in (store.CONVERTED_NAME, Path(store.LLM.files[0].path).name)


def _endpoint(setting: str, adapter: Path | None, max_tokens: int) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    if adapter is not None:
        raise InputError("An endpoint chooses its adapters itself: name one as the model, after '#' in the URL.")
    url, model = urldefrag(setting)
    return ChatOpenAI(
        base_url=url,
        model=model or "default",
        api_key=SecretStr(os.environ.get("OPENAI_API_KEY") or "none"),
        temperature=0.0,
        max_completion_tokens=max_tokens,
        timeout=120,
        max_retries=2,
        stream_usage=True,
    )


def _llama_cpp(setting: str, adapter: Path | None, max_tokens: int) -> BaseChatModel:
    from workshop_utils.models.llama_cpp import ChatLlamaCpp

    if setting and not setting.endswith(".gguf"):
        raise InputError(f"llama.cpp reads GGUF files, and {setting} is none: use backend='transformers'.")
    return ChatLlamaCpp(Path(setting) if setting else store.llm_gguf(), adapter=adapter, max_tokens=max_tokens)


def _transformers(setting: str, adapter: Path | None, max_tokens: int) -> BaseChatModel:
    from workshop_utils.models.transformers_chat import ChatTransformers, Engine

    if setting.endswith(".gguf"):
        raise InputError(f"{setting} is a GGUF file, which only llama.cpp reads here: use backend='llama.cpp'.")
    is_local = not setting or Path(setting).exists()
    engine = Engine.load(setting or str(store.llm_dir()), device.choose(), local=is_local)
    chat = ChatTransformers(engine=engine, max_tokens=max_tokens)
    return chat.with_adapter(adapter) if adapter else chat


def count_tokens(llm: BaseChatModel, text: str) -> int:
    """Tokens of a text for this model; for an endpoint, whose tokenizer is not here, an estimate from its length."""
    local = getattr(llm, "count_tokens", None)
    return int(local(text)) if local else len(text) // 3 + 1
