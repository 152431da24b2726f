"""Where the model computes and in which precision."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Any

from workshop_utils.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Device:
    """A torch device name, a torch dtype name, and why they were chosen."""

    name: str
    dtype: str
    reason: str

    @property
    def torch_dtype(self) -> Any:
        """The ``torch.dtype`` of that name."""
        import torch

        return getattr(torch, self.dtype)


def choose() -> Device:
    """The device and dtype for this machine; ``WORKSHOP_DEVICE`` and ``WORKSHOP_DTYPE`` force them.

    On a CPU without bfloat16 instructions, bfloat16 matrix products are emulated and many times slower than
    float32, so the choice follows the CPU and not the file's dtype.

    Raises:
        workshop_utils.errors.InputError: ``WORKSHOP_DTYPE`` is not one of ``DTYPES``.
    """
    import torch

    name = os.environ.get("WORKSHOP_DEVICE") or _best_device()
    forced = os.environ.get("WORKSHOP_DTYPE")
    if forced:
        if forced not in DTYPES:
            raise InputError(f"WORKSHOP_DTYPE is {forced!r}; it must be one of {', '.join(DTYPES)}.")
        return Device(name, forced, "set by WORKSHOP_DTYPE")
    if name.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device(name, "bfloat16" if native else "float16", "GPU")
    if name != "cpu":
        return Device(name, "float32", f"{name} device")
    features = cpu_features()
    if features:
        return Device(name, "bfloat16", f"this CPU computes bfloat16 natively ({', '.join(features)})")
    return Device(name, "float32", "this CPU has no native bfloat16")


def cpu_features() -> tuple[str, ...]:
    """The bfloat16 instruction sets that this CPU has and that torch is allowed to use.

    oneDNN, which computes torch's matrix products on CPU, reads ``ONEDNN_MAX_CPU_ISA``: capping it there
    (to try the path of an older laptop) must change the choice too.
    """
    import torch

    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if cap not in ("ALL", "DEFAULT") and "BF16" not in cap and "AMX" not in cap:
        return ()
    probes = {"AVX512-BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
    return tuple(label for label, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)())


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def give_back_memory() -> None:
    """Hand memory that is free inside this process back to the system.

    glibc keeps freed blocks between used ones for itself, after a large batch or a training hundreds of megabytes; on a
    small machine the next large thing needs them. Systems with another C library free by themselves.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
