"""Widgets for notebooks: one file a widget, state apart from display."""

from workshop_utils.widgets.ask_box import ask_box
from workshop_utils.widgets.decision_helper import decision_helper
from workshop_utils.widgets.marked_text import marked_text
from workshop_utils.widgets.prompt_inspector import prompt_inspector
from workshop_utils.widgets.retrieval_explorer import retrieval_explorer
from workshop_utils.widgets.side_by_side import side_by_side
from workshop_utils.widgets.stages import stage_strip
from workshop_utils.widgets.training_monitor import training_monitor

__all__ = [
    "ask_box",
    "decision_helper",
    "marked_text",
    "prompt_inspector",
    "retrieval_explorer",
    "side_by_side",
    "stage_strip",
    "training_monitor",
]
