"""The small adapters that were trained for the workshop and come with it."""

from __future__ import annotations

from pathlib import Path

ADAPTERS = Path(__file__).resolve().parents[2] / "data" / "adapters"

# reads numbered passages, answers with a citation, and says when none of them answers
READER = ADAPTERS / "reader"
