"""Device and dtype follow what the machine can do, unless the user says otherwise."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import psutil
import pytest
import torch

from workshop_utils.models import device

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend to be a machine."""
    for name in ("WORKSHOP_DEVICE", "WORKSHOP_DTYPE", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)

    def be(
        *, cuda: bool = False, mps: bool = False, gpu_bf16: bool = False, avx512: bool = False, amx: bool = False
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu_bf16 or including_emulation
        )
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)

    return be


@pytest.mark.parametrize(
    ("features", "name", "dtype"),
    [
        ({}, "cpu", "float32"),
        ({"avx512": True}, "cpu", "bfloat16"),
        ({"amx": True}, "cpu", "bfloat16"),
        ({"cuda": True}, "cuda", "float16"),
        ({"cuda": True, "gpu_bf16": True}, "cuda", "bfloat16"),
        ({"mps": True, "avx512": True}, "mps", "float32"),
        ({"cuda": True, "mps": True, "gpu_bf16": True}, "cuda", "bfloat16"),
    ],
)
def test_the_choice_follows_the_machine(machine: Machine, features: dict[str, bool], name: str, dtype: str) -> None:
    machine(**features)
    chosen = device.choose()
    assert (chosen.name, chosen.dtype) == (name, dtype)
    assert chosen.reason
    assert chosen.torch_dtype is getattr(torch, dtype)


@pytest.mark.parametrize(
    ("cap", "dtype"),
    [
        ("AVX2", "float32"),
        ("avx512_core", "float32"),
        ("AVX512_CORE_BF16", "bfloat16"),
        ("AVX10_1_512_AMX", "bfloat16"),
        ("ALL", "bfloat16"),
        ("default", "bfloat16"),
    ],
)
def test_a_cap_on_onednn_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch, cap: str, dtype: str) -> None:
    machine(avx512=True, amx=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    assert device.choose().dtype == dtype


@pytest.mark.parametrize("forced", device.DTYPES)
def test_the_dtype_can_be_forced(machine: Machine, monkeypatch: pytest.MonkeyPatch, forced: str) -> None:
    machine(avx512=True)
    monkeypatch.setenv("WORKSHOP_DTYPE", forced)
    assert device.choose() == device.Device("cpu", forced, "set by WORKSHOP_DTYPE")


def test_the_device_can_be_forced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(cuda=True, gpu_bf16=True)
    monkeypatch.setenv("WORKSHOP_DEVICE", "cpu")
    assert (device.choose().name, device.choose().dtype) == ("cpu", "float32")
    monkeypatch.setenv("WORKSHOP_DEVICE", "cuda:1")
    assert (device.choose().name, device.choose().dtype) == ("cuda:1", "bfloat16")


@pytest.mark.parametrize("forced", ["bf16", "int8", "Float32", "nn.Linear"])
def test_an_unknown_dtype_is_refused_with_the_choice(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    machine()
    monkeypatch.setenv("WORKSHOP_DTYPE", forced)
    with pytest.raises(ValueError, match=r"WORKSHOP_DTYPE is .* must be one of float32, bfloat16, float16"):
        device.choose()


def test_a_torch_without_the_probes_counts_as_a_cpu_without_bfloat16(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert device.cpu_features() == ()


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps what is freed"
)
def test_what_is_free_inside_goes_back_to_the_system() -> None:
    process = psutil.Process()
    blocks = [bytearray(50_000) for _ in range(4000)]
    kept = blocks[::100]
    blocks.clear()
    held = process.memory_info().rss
    device.give_back_memory()
    assert held - process.memory_info().rss > 100e6
    assert all(len(block) == 50_000 for block in kept)
