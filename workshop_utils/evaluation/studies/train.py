"""How fast and how small training is, beside the usual recipe: same data, same seed, one run.

``workshop bench train --json data/results/train.json``
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from workshop_utils.evaluation.studies.runs import in_fresh_process
from workshop_utils.models import device, load_tokenizer, store
from workshop_utils.tuning.arithmetic import Shape, gemm_peak, training_flop
from workshop_utils.tuning.memory import peak_memory
from workshop_utils.tuning.settings import MLP, Settings
from workshop_utils.tuning.supervised import IGNORED, Row
from workshop_utils.tuning.trainer import train_adapter

EXAMPLES, DEV, SEED = 400, 80, 0
EPOCHS = 2
# what PEFT and every trainer take that are told nothing else
STOCK_RANK, STOCK_BATCH = 8, 8
OURS = Settings(upper_layers=15, targets=MLP, rank=16, batch_size=4, epochs=EPOCHS, seed=SEED)
# rates are chosen on a run over this share of the examples, by its best loss on half of the development examples:
# from these, up and down by a factor, until the rates on both sides of the best are worse
TUNING_SHARE = 0.25
TUNING_POINTS = 3
STOCK_RATE = OUR_RATE = 4.5e-3
RATE_FACTOR = 3.0
# development losses in a run
POINTS = 10

Point = tuple[float, float]


def study(
    console: Console,
    train: Sequence[Row] | None = None,
    dev: Sequence[Row] | None = None,
) -> dict[str, Any]:
    """Seconds to equal development loss, memory, and share of the machine's limit, of the usual recipe and of ours.

    *Stock* is transformers' ``Trainer`` with PEFT's ``LoraConfig(r=8)`` on all linear layers and else as they come:
    alpha 8, adapters in float32, batches of 8 in random order padded to their longest, logits of every token, a
    linear schedule, torch's attention. Both mask the prompt's labels, compute in the same dtype, see the same
    examples as often, and have their learning rate chosen on the development loss of shorter runs. Each runs in a
    process of its own. Development losses are measured alike and their time is not counted; that of
    computing the frozen layers once is.

    Args:
        train: rows to learn from; tickets with their records when None. ``dev``: to measure the loss on.

    Returns:
        ``speedup``: stock's seconds to its best development loss, over our seconds to that loss, interpolated
        between measurements (None when ours does not get there); ``memory_ratio``: our peak over stock's, of whole
        processes; ``gemm_share``: of the matrix-product peak measured in this run (``gemm_gflops``) that our required
        operations reach; ``stock``, ``ours``: ``rate``, ``rates`` (best development loss by rate), ``seconds``,
        ``seconds_to_equal``, ``examples_per_second``, ``tokens_per_second``, ``peak_mb``, ``libraries_mb`` of it
        before the model is there, ``gemm_share``, ``padding`` (padded tokens over tokens), ``dev_loss``
        ([[seconds, x]]), ``best_dev_loss``.
    """
    if train is None or dev is None:
        train, dev = tickets()
    peak = gemm_peak()
    few = train[: round(len(train) * TUNING_SHARE)]
    shape = _shape()
    result: dict[str, Any] = {}
    for name, start in (("stock", STOCK_RATE), ("ours", OUR_RATE)):

        def loss_at(rate: float, name: str = name) -> float:
            found: float = min(
                loss for _, loss in _fresh(name, few, dev[: len(dev) // 2], rate, TUNING_POINTS)["dev_loss"]
            )
            console.print(f"{name}, rate {rate:g}: development loss {found:.4f} on {len(few)} examples")
            return found

        tried = tune_rate(loss_at, start)
        rate = min(tried, key=lambda rate: tried[rate])
        run = _fresh(name, train, dev, rate, POINTS)
        tokens = EPOCHS * sum(len(row["labels"]) for row in train)
        flop = training_flop(
            shape,
            tokens=tokens,
            learnt_tokens=EPOCHS * sum(label != IGNORED for row in train for label in row["labels"]),
            upper_layers=None if name == "stock" else OURS.upper_layers,
            frozen_passes=tokens / EPOCHS,
        )
        run["rate"], run["rates"] = rate, {f"{rate:g}": round(tried[rate], 4) for rate in sorted(tried)}
        run["best_dev_loss"] = min(loss for _, loss in run["dev_loss"])
        run["examples_per_second"] = round(EPOCHS * len(train) / run["seconds"], 2)
        run["tokens_per_second"] = round(tokens / run["seconds"], 1)
        run["gemm_share"] = round(flop / run["seconds"] / peak, 3)
        console.print(f"{name}: development loss {run['best_dev_loss']:.4f} after {run['seconds']:.0f} s")
        result[name] = run
    goal = result["stock"]["best_dev_loss"]
    for run in result.values():
        run["seconds_to_equal"] = seconds_to(run["dev_loss"], goal)
    stock, ours = result["stock"], result["ours"]
    reached = ours["seconds_to_equal"]
    return {
        "speedup": None if reached is None else round(stock["seconds_to_equal"] / reached, 2),
        "memory_ratio": round(ours["peak_mb"] / stock["peak_mb"], 3),
        "gemm_share": ours["gemm_share"],
        "examples_ratio": round(ours["examples_per_second"] / stock["examples_per_second"], 2),
        "gemm_gflops": round(peak / 1e9, 1),
        "settings": OURS.as_dict(),
        "examples": len(train),
        "dev": len(dev),
        "epochs": EPOCHS,
        "tuning_examples": len(few),
        "dtype": device.choose().dtype,
        "threads": threads(),
        **result,
    }


def tune_rate(loss_at: Callable[[float], float], start: float) -> dict[float, float]:
    """Losses by rate: up and down from ``start`` by ``RATE_FACTOR``, until the rates beside the best are worse."""
    tried = {start: loss_at(start)}
    for factor in (RATE_FACTOR, 1 / RATE_FACTOR):
        while (rate := float(f"{min(tried, key=lambda rate: tried[rate]) * factor:.3g}")) not in tried:
            tried[rate] = loss_at(rate)
    return tried


def seconds_to(points: Sequence[Sequence[float]], goal: float) -> float | None:
    """Seconds after which a curve of (seconds, loss) first is at ``goal`` or below, on straight lines; None: never."""
    if points[0][1] <= goal:
        return points[0][0]
    for (before, high), (after, low) in pairwise(points):
        if low <= goal:
            return round(before + (after - before) * (high - goal) / (high - low), 1)
    return None


def table(result: dict[str, Any]) -> Table:
    """What ``study`` returned, to print."""
    grid = Table(
        title=f"{result['examples']} examples, {result['epochs']} epochs, {result['dtype']}, "
        f"{result['threads']} threads"
    )
    for column in ("", "stock", "ours"):
        grid.add_column(column, justify="right" if column else "left")
    for label, key in (
        ("learning rate", "rate"),
        ("seconds in all", "seconds"),
        ("seconds to stock's best development loss", "seconds_to_equal"),
        ("best development loss", "best_dev_loss"),
        ("examples per second", "examples_per_second"),
        ("tokens per second", "tokens_per_second"),
        ("peak memory, MB", "peak_mb"),
        ("of it before the model", "libraries_mb"),
        ("share of the matrix-product peak", "gemm_share"),
        ("padded tokens to tokens", "padding"),
    ):
        grid.add_row(label, *("" if result[way][key] is None else f"{result[way][key]:g}" for way in ("stock", "ours")))
    speedup = "not reached" if result["speedup"] is None else f"{result['speedup']:.2f} times faster"
    grid.caption = f"to equal development loss: {speedup}; memory {result['memory_ratio']:.2f} of stock's"
    return grid


def tickets() -> tuple[list[Row], list[Row]]:
    """To learn from, and to measure the loss on."""
    from workshop_utils.tuning.tasks import task_rows

    tokenizer = load_tokenizer()
    return task_rows(tokenizer, "triage", "train", EXAMPLES), task_rows(tokenizer, "triage", "dev", DEV)


def _shape() -> Shape:
    import transformers

    return Shape.of(transformers.AutoConfig.from_pretrained(str(store.llm_dir())))


def threads() -> int:
    """That torch computes with."""
    import torch

    return torch.get_num_threads()


def _fresh(name: str, train: Sequence[Row], dev: Sequence[Row], rate: float, points: int) -> dict[str, Any]:
    run: dict[str, Any] = in_fresh_process(_stock if name == "stock" else _ours, list(train), list(dev), rate, points)
    return run


def _ours(train: list[Row], dev: list[Row], rate: float, measurements: int) -> dict[str, Any]:
    libraries = _libraries_mb()
    steps = EPOCHS * -(-len(train) // OURS.batch_size)
    settings = replace(OURS, learning_rate=rate, dev_every=max(1, steps // measurements))
    points: list[Point] = []
    told = 0

    def watch(progress: Any) -> None:
        nonlocal told
        # a step is told once more when the development loss has been measured after it
        if progress.step == told:
            points.append((progress.seconds, progress.dev_loss))
        told = progress.step

    with tempfile.TemporaryDirectory() as folder:
        report = train_adapter(train, Path(folder) / "adapter", settings, dev=dev, watch=watch)
    from workshop_utils.tuning.loop import ByLength

    lengths = [len(row["labels"]) for row in train]
    order = list(ByLength(lengths, OURS.batch_size, OURS.seed))
    return {
        "seconds": round(points[-1][0], 1),
        "dev_loss": [[round(seconds, 2), round(loss, 5)] for seconds, loss in points],
        "peak_mb": report["peak_mb"],
        "libraries_mb": libraries,
        "padding": padding([lengths[i] for i in order], OURS.batch_size),
        "parameters": report["parameters"],
    }


def _stock(train: list[Row], dev: list[Row], rate: float, measurements: int) -> dict[str, Any]:
    import peft
    import torch
    import transformers

    from workshop_utils.tuning.loop import AnswerModel, mean_loss

    libraries = _libraries_mb()
    place = device.choose()
    transformers.set_seed(SEED)
    tokenizer = load_tokenizer()
    points: list[Point] = []
    lengths: list[int] = []
    widths: list[int] = []

    class Clock(transformers.TrainerCallback):
        """Development losses outside the clock."""

        seconds = since = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self.measure()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self.seconds += time.perf_counter() - self.since
            self.since = time.perf_counter()
            every = max(1, state.max_steps // measurements)
            if state.global_step % every == 0 or state.global_step == state.max_steps:
                self.measure()

        def measure(self) -> None:
            points.append((self.seconds, mean_loss(AnswerModel(model.get_base_model()), dev)))
            self.since = time.perf_counter()

    pad = transformers.DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)

    def collate(rows: list[Row]) -> Any:
        lengths.extend(len(row["labels"]) for row in rows)
        widths.append(len(rows) * max(len(row["labels"]) for row in rows))
        return pad([dict(row) for row in rows])

    with peak_memory() as peak, tempfile.TemporaryDirectory() as folder:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(str(store.llm_dir()), dtype=place.torch_dtype)
        config = peft.LoraConfig(r=STOCK_RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config)
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=folder,
                learning_rate=rate,
                num_train_epochs=EPOCHS,
                per_device_train_batch_size=STOCK_BATCH,
                seed=SEED,
                use_cpu=place.name == "cpu",
                save_strategy="no",
                disable_tqdm=True,
                report_to=[],
            ),
            train_dataset=train,
            data_collator=collate,
            callbacks=[Clock()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        highest = peak()
    return {
        "seconds": round(points[-1][0], 1),
        "dev_loss": [[round(seconds, 2), round(loss, 5)] for seconds, loss in points],
        "peak_mb": None if highest is None else round(highest, 1),
        "libraries_mb": libraries,
        "padding": round(sum(widths) / sum(lengths), 3),
        "parameters": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "torch": torch.__version__.partition("+")[0],
    }


def padding(lengths: Sequence[int], batch_size: int) -> float:
    """Tokens of the padded batches over tokens, when the examples come in this order."""
    batches = [lengths[at : at + batch_size] for at in range(0, len(lengths), batch_size)]
    return round(sum(len(batch) * max(batch) for batch in batches) / sum(lengths), 3)


def _libraries_mb() -> float:
    """Memory of this process after the imports, in MB."""
    import peft  # noqa: F401
    import transformers
    from transformers import LlamaForCausalLM, Trainer  # noqa: F401

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return round(psutil.Process().memory_full_info().uss / 1e6, 1)
