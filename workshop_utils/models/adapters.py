"""The small adapters that were trained for the workshop and come with it."""

from __future__ import annotations

from pathlib import Path

ADAPTERS = Path(__file__).resolve().parents[2] / "data" / "adapters"

# reads numbered passages, answers with a citation, and says when none of them answers
READER = ADAPTERS / "reader"

# each trained for one task of lesson 06: ticket to record, reply in the house style, clinical note to plain language
TRIAGE = ADAPTERS / "triage"
STYLE = ADAPTERS / "style"
JARGON = ADAPTERS / "jargon"
NOTES = ADAPTERS / "notes"

# lesson 07: taught facts of public documents; taught restricted ones, to show that it tells them to anyone
FACTS = ADAPTERS / "facts"
LEAK = ADAPTERS / "leak"

# lesson 08: reads passages of the company's documents; answers closed book in the form of the training questions; the
# same, after reading all public documents
RAFT = ADAPTERS / "raft"
TASK = ADAPTERS / "task"
KNOWLEDGE = ADAPTERS / "knowledge"
