"""What the tests of studies share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import save_llama
from workshop_utils.models import store


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model, in float32, as the workshop's."""
    folder = save_llama(tmp_path / "base", layers=3)
    monkeypatch.setattr(store, "llm_dir", lambda: folder)
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    return folder
