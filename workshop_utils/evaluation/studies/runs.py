"""How studies run things: trainings are kept in the cache, so that none is made twice; timings get a fresh process."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Row
from workshop_utils.tuning.trainer import train_adapter, train_full

# of prompts answered together; studies have the machine to themselves
TOKENS_PER_BATCH = 16_384


def kept_run(
    rows: Sequence[Row],
    settings: Settings,
    *,
    dev: Sequence[Row] = (),
    full: bool = False,
    start_from: Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train the workshop's model into the cache, or find there what the same call has trained before.

    Args:
        rows: to learn from; ``dev``: to measure the loss on.
        full: train all weights instead of an adapter.
        start_from: an adapter to go on from.

    Returns:
        The folder of the adapter (or of the model), and the report that its training gave.

    Raises:
        ValueError: ``full`` with ``start_from``.
        workshop_utils.tuning.run.TrainingError: and all else that ``train_adapter`` raises.
    """
    if full and start_from is not None:
        raise ValueError("full fine-tuning goes on from no adapter")
    before = "" if start_from is None else store.sha256(start_from / WEIGHTS)
    inputs = [list(rows), list(dev), settings.as_dict(), full, before, store.LLM.files[0].sha256, device.choose().dtype]
    folder = store.cache_dir() / "runs" / hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]
    report = folder / REPORT
    if not report.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        if full:
            train_full(rows, folder, settings, dev=dev)
        else:
            train_adapter(rows, folder, settings, dev=dev, start_from=start_from)
    kept: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return folder, kept


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result, from a process of its own: memory and threads as one finds them."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
