"""How much memory a training takes, and what to do when there is too little."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workshop_utils.tuning.settings import Settings

SAMPLE_SECONDS = 0.25


@contextmanager
def peak_memory() -> Iterator[Callable[[], float | None]]:
    """The most memory that this process had to itself within the block, in MB (10^6 bytes); sampled.

    On a GPU it is the GPU's.
    """
    import psutil
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield lambda: torch.cuda.max_memory_allocated() / 1e6
        return
    process, peak, done = psutil.Process(), [0.0], threading.Event()

    def sample() -> None:
        try:
            while True:
                peak[0] = max(peak[0], process.memory_full_info().uss / 1e6)
                if done.wait(SAMPLE_SECONDS):
                    return
        except (psutil.Error, OSError, AttributeError):
            peak[0] = 0.0

    sampler = threading.Thread(target=sample, name="memory", daemon=True)
    sampler.start()
    try:
        yield lambda: peak[0] or None
    finally:
        done.set()
        sampler.join()


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch or the operating system says in its words that memory ran out."""
    import torch

    told = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in told)


def memory_advice(settings: Settings, error: str) -> str:
    """What to change in the settings, the gentlest first; ``error`` is what was said."""
    tips = []
    if settings.batch_size > 1:
        half, double = settings.batch_size // 2, settings.accumulate * 2
        tips.append(f"batch_size={half} with accumulate={double} (the same steps with half the activations)")
    if settings.upper_layers is None or settings.upper_layers > 1:
        tips.append("fewer upper_layers")
    tips += ["shorter texts", "closing other programs and notebooks"]
    said = error.splitlines()[0] if error else "MemoryError"
    return f"There is not enough memory to train like this ({said}). Try, in this order: {'; '.join(tips)}."
