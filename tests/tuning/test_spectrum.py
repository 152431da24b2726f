"""The spectrum of an update: by hand, and of two models on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import save_llama
from workshop_utils.tuning.spectrum import Spectrum, stored_dtype, updates


def test_the_energy_of_a_rank_is_what_its_best_matrix_holds() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(12, 3)) @ rng.normal(size=(3, 20)) + 0.1 * rng.normal(size=(12, 20))
    found = Spectrum.of(matrix)
    assert list(found.values) == sorted(found.values, reverse=True)
    left, values, right = np.linalg.svd(matrix)
    for rank in (1, 3, 12):
        best = left[:, :rank] * values[:rank] @ right[:rank]
        left_over = np.linalg.norm(matrix - best) ** 2 / np.linalg.norm(matrix) ** 2
        assert found.energy(rank) == pytest.approx(1 - left_over)
    assert found.energy(3) > 0.95 > found.energy(1)
    assert Spectrum.of(np.zeros((2, 2))).energy(1) == 0


def test_the_update_is_after_minus_before(tmp_path: Path) -> None:
    import transformers

    before = save_llama(tmp_path / "before")
    model = transformers.AutoModelForCausalLM.from_pretrained(before, dtype="float32")
    changed = model.model.layers[1].mlp.down_proj.weight
    left, right = np.ones((64, 1)), np.arange(128)[None]
    changed.data += changed.new_tensor(0.01 * left @ right)
    model.save_pretrained(tmp_path / "after")
    kept, new = updates(before, tmp_path / "after", (1,), ("q_proj", "down_proj"))
    assert (kept.layer, kept.module, kept.size) == (1, "q_proj", 0)
    assert new.delta == pytest.approx(0.01 * left @ right, abs=1e-6)
    assert new.size == pytest.approx(np.linalg.norm(0.01 * left @ right) / np.linalg.norm(new.before))
    assert Spectrum.of(new.delta).energy(1) == pytest.approx(1, abs=1e-6)
    assert stored_dtype(tmp_path / "after") == "float32"
    with pytest.raises(FileNotFoundError):
        updates(tmp_path / "nothing", tmp_path / "after", (1,), ("q_proj",))
