"""How fast answers come: our llama.cpp backend beside llama.cpp itself and beside transformers."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from rich.table import Table

from workshop_utils.models import device, store
from workshop_utils.models.llama_cpp import ChatLlamaCpp, import_xllamacpp, server_parameters

TOKENS = 96
# as long as a prompt with retrieved passages: about 600 tokens
PASSAGE = (
    "The CP-3 pump runs for 6 hours on its battery and is charged in 3 hours. The battery is replaced every 24 months "
    "by the workshop of the site, which keeps the record of it for 10 years. When the alarm sounds twice, the pump "
    "is taken out of use and the ward calls the workshop at extension 4410.\n\n"
)
MESSAGES: list[BaseMessage] = [
    SystemMessage("Answer from the text."),
    HumanMessage(f"Text:\n{PASSAGE * 7}Question: Explain in your own words what the ward should know about the pump."),
]

Measured = dict[str, float]


def bench_decode(runs: int = 5) -> dict[str, Any]:
    """Decoding speed, and prompt speed, of three ways to run the same model on the same prompt, taking turns.

    ``ours`` is ``ChatLlamaCpp`` streamed through LangChain, by the clock of the caller: (tokens - 1) / (last - first).
    ``llama_cpp`` is llama.cpp's server with the same parameters, called without our class and without looking at the
    chunks, by its own report (``predicted_per_second``, which counts the first token as well). ``transformers`` is
    greedy ``generate`` in the dtype of ``device.choose()``, by (tokens - 1) / (time - time to the first token).
    All generate ``TOKENS`` tokens, whatever they are, from a prompt computed from scratch.

    Returns:
        Tokens per second: ``ours_tok_s``, ``llama_cpp_tok_s``, ``transformers_tok_s`` (median over the runs, with
        ``..._low`` and ``..._high`` for the extremes); ``ratio_to_llama_cpp``, the median over the runs of ours
        divided by llama.cpp's in the same run, with low and high; the same for prompts as ``..._prompt_tok_s``;
        ``ours_first_token_s``; ``runs``, ``prompt_tokens``, ``tokens``, ``dtype``, ``device``.

    Raises:
        workshop_utils.models.llama_cpp.LlamaCppError: xllamacpp is not installed.
        workshop_utils.models.store.ModelStoreError: the model cannot be had.
    """
    chat = ChatLlamaCpp(store.llm_gguf(), max_tokens=TOKENS)
    prompt = chat.encode(MESSAGES)
    contestants: dict[str, Callable[[], Measured]] = {
        "ours": lambda: _ours(chat),
        "llama_cpp": _llama_cpp(chat),
        "transformers": _transformers(prompt),
    }
    measured: dict[str, list[Measured]] = {name: [] for name in contestants}
    gc.collect()
    for measure in contestants.values():
        measure()
    for run in range(runs):
        # each goes first in turn, so that none always follows the one that heats the machine most
        names = list(contestants)
        for name in names[run % 3 :] + names[: run % 3]:
            measured[name].append(contestants[name]())
    result: dict[str, Any] = {}
    for name, of_runs in measured.items():
        result |= _spread(f"{name}_tok_s", [one["tok_s"] for one in of_runs])
        result |= _spread(f"{name}_prompt_tok_s", [len(prompt) / one["prompt_s"] for one in of_runs])
    pairs = zip(measured["ours"], measured["llama_cpp"], strict=True)
    result |= _spread("ratio_to_llama_cpp", [ours["tok_s"] / theirs["tok_s"] for ours, theirs in pairs], 3)
    result |= _spread("ours_first_token_s", [one["prompt_s"] for one in measured["ours"]], 3)
    chosen = device.choose()
    return result | {
        "runs": runs,
        "prompt_tokens": len(prompt),
        "tokens": TOKENS,
        "dtype": chosen.dtype,
        "device": chosen.name,
    }


def table(result: dict[str, Any]) -> Table:
    """What ``bench_decode`` returned, to print."""
    shown = Table(
        title=f"{result['prompt_tokens']} prompt and {result['tokens']} answer tokens, median of {result['runs']} runs"
    )
    for column in ("tokens per second", "answer", "low", "high", "prompt"):
        shown.add_column(column, justify="left" if column == "tokens per second" else "right")
    rows = {
        "ours": "llama.cpp through LangChain (ours)",
        "llama_cpp": "llama.cpp itself",
        "transformers": f"transformers, {result['dtype']} on {result['device']}",
    }
    for key, label in rows.items():
        speeds = (result[f"{key}_{name}"] for name in ("tok_s", "tok_s_low", "tok_s_high", "prompt_tok_s"))
        shown.add_row(label, *(f"{speed:.1f}" for speed in speeds))
    shown.caption = (
        f"ours / llama.cpp: {result['ratio_to_llama_cpp']:.3f} "
        f"({result['ratio_to_llama_cpp_low']:.3f} to {result['ratio_to_llama_cpp_high']:.3f}); "
        f"first token after {result['ours_first_token_s']:.2f} s"
    )
    return shown


def _ours(chat: ChatLlamaCpp) -> Measured:
    # nothing of the prompt is left from the run before
    chat.invoke("hi", max_tokens=1)
    started = time.perf_counter()
    clock = [time.perf_counter() for piece in chat.stream(MESSAGES, ignore_eos=True) if piece.content]
    return {"prompt_s": clock[0] - started, "tok_s": (TOKENS - 1) / (clock[-1] - clock[0])}


def _llama_cpp(chat: ChatLlamaCpp) -> Callable[[], Measured]:
    parameters = server_parameters(chat.model_path, chat.n_ctx)
    server = import_xllamacpp().Server(parameters)
    request = chat._request(MESSAGES, None, {"ignore_eos": True}) | {"cache_prompt": False}

    def measure() -> Measured:
        last = b""

        def receive(chunk: bytes) -> None:
            nonlocal last
            last = chunk

        server.handle_chat_completions(json.dumps(request).encode(), receive)
        timings = json.loads(last)["timings"]
        return {"prompt_s": timings["prompt_ms"] / 1000, "tok_s": timings["predicted_per_second"]}

    return measure


def _transformers(prompt: list[int]) -> Callable[[], Measured]:
    import torch
    import transformers

    chosen = device.choose()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(store.llm_dir(), dtype=chosen.torch_dtype)
    model = model.to(chosen.name).eval()
    ids = torch.tensor([prompt], device=chosen.name)

    def generate(tokens: int) -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )
        return time.perf_counter() - started

    def measure() -> Measured:
        first = generate(1)
        return {"prompt_s": first, "tok_s": (TOKENS - 1) / (generate(TOKENS) - first)}

    return measure


def _spread(name: str, values: list[float], digits: int = 1) -> dict[str, float]:
    return {
        name: round(statistics.median(values), digits),
        f"{name}_low": round(min(values), digits),
        f"{name}_high": round(max(values), digits),
    }
