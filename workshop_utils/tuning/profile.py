"""Where the time of a training step goes, by torch's own profiler."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from workshop_utils.tuning.adapting import loaded, with_adapter
from workshop_utils.tuning.attention import short_text_attention
from workshop_utils.tuning.frozen import from_states, frozen_layers
from workshop_utils.tuning.settings import LINEAR, Settings
from workshop_utils.tuning.supervised import Row

PARTS = ("layers", "adapters", "attention", "output", "elementwise", "optimiser", "rest")
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear")
BATCHES = 3
RUNS = 2
ROUNDS = 3


def step_profile(rows: Sequence[Row], settings: Settings, base: Path | None = None) -> dict[str, float]:
    """Share of a step's seconds by part, over some batches; gradients and the optimiser's update included.

    Args:
        rows: examples; some batches of them are used.

    Returns:
        ``layers``: products with frozen weights; ``adapters``: with LoRA's; ``attention``: scores, softmax, values;
        ``output``: all that is as wide as the vocabulary; ``elementwise``: norms, activations, rotations, additions,
        copies; ``optimiser``; ``rest``: Python, dispatch, waiting.
    """
    import torch

    with _prepared(rows, settings, base) as (step, vocabulary):
        step()
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
            started = time.perf_counter()
            step()
            seconds = time.perf_counter() - started
    spent = dict.fromkeys(PARTS, 0.0)
    for event in profile.key_averages(group_by_input_shape=True):
        sizes = [size for shape in event.input_shapes if isinstance(shape, list) for size in shape]
        spent[_part(event.key, sizes, vocabulary, settings.rank)] += event.self_cpu_time_total / 1e6
    spent["rest"] += max(0.0, seconds - sum(spent.values()))
    return {part: round(value / sum(spent.values()), 4) for part, value in spent.items()}


def without(rows: Sequence[Row], settings: Settings, base: Path | None = None) -> dict[str, float]:
    """How many times as long the same steps take when one of the things that make them fast is left out.

    Returns:
        ``attention``: torch's fused kernel instead of ours;
        ``frozen``: the frozen layers gone through in each step; ``precision``: adapters in float32 as PEFT makes them
        (1 where all is float32); ``logits``: of all tokens at once; ``upper_layers``: adapters in all layers;
        ``targets``: adapters of the same rank on all seven matrices of a layer.
    """
    changed: dict[str, dict[str, Any]] = {
        "attention": {"attention": False},
        "frozen": {"kept": False},
        "precision": {"autocast": True},
        "logits": {"few_logits": False},
        "upper_layers": {"settings": replace(settings, upper_layers=None)},
        "targets": {"settings": replace(settings, targets=LINEAR)},
    }
    times: dict[str, list[float]] = {}
    # in rounds, since a process gets faster with the memory that it has had before, and machines have moods
    for name, change in list({"": {}, **changed}.items()) * ROUNDS:
        with _prepared(rows, **{"settings": settings, "base": base, **change}) as (step, _):
            step()
            for _ in range(RUNS):
                started = time.perf_counter()
                step()
                times.setdefault(name, []).append(time.perf_counter() - started)
    return {name: round(min(times[name]) / min(times[""]), 3) for name in changed}


@contextmanager
def _prepared(
    rows: Sequence[Row],
    settings: Settings,
    base: Path | None,
    *,
    attention: bool = True,
    kept: bool = True,
    autocast: bool = False,
    few_logits: bool = True,
) -> Iterator[tuple[Callable[[], None], int]]:
    """A function that makes steps over some batches, and the size of the vocabulary."""
    import torch

    from workshop_utils.tuning.frozen import hidden_states, pass_by
    from workshop_utils.tuning.loop import AnswerModel, adam, collate

    with loaded(base) as (model, _):
        tuned = with_adapter(model, settings, None)
        if autocast:
            tuned.base_model._cast_adapter_dtype("default", True)
        optimiser = adam([weight for weight in model.parameters() if weight.requires_grad], settings.learning_rate)
        size = settings.batch_size
        chosen: list[Any] = sorted(rows, key=lambda row: len(row["labels"]))
        middle = max(0, (len(chosen) - size * BATCHES) // 2)
        chosen = chosen[middle : middle + size * BATCHES]
        with short_text_attention(model) if attention else nullcontext():
            if kept:
                frozen = frozen_layers(model)
                chosen = from_states(chosen, hidden_states(model, [row["input_ids"] for row in chosen], frozen))
                pass_by(model, frozen)
            batches = [collate(chosen[at : at + size]) for at in range(0, len(chosen), size)]
            answers: Any = AnswerModel(model) if few_logits else lambda **batch: model(**batch, use_cache=False).loss

            def step() -> None:
                for batch in batches:
                    answers(**batch).sum().backward()
                    optimiser.step()
                    optimiser.zero_grad()

            model.train()
            with torch.enable_grad():
                yield step, model.config.vocab_size


def _part(name: str, sizes: Sequence[Any], vocabulary: int, rank: int) -> str:
    if "adamw" in name.lower() or name.startswith("Optimizer"):
        return "optimiser"
    if vocabulary in sizes:
        return "output"
    if name == "aten::bmm" or "softmax" in name or "scaled_dot_product" in name:
        return "attention"
    if name in PRODUCTS:
        return "adapters" if rank in sizes else "layers"
    return "elementwise" if sizes and name.startswith("aten::") else "rest"
