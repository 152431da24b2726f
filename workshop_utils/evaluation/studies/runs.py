"""Trainings of the studies, kept in the cache: a study that was interrupted goes on, and none is trained twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Row
from workshop_utils.tuning.trainer import train_adapter, train_full


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
