"""Builds both editions of the notebooks, the references and the README's table from lessons/NN_name.py."""

from workshop_utils.authoring.problems import BuildError, Problem
from workshop_utils.authoring.project import build, check, lesson_table, reset
from workshop_utils.authoring.regions import fill

__all__ = ["BuildError", "Problem", "build", "check", "fill", "lesson_table", "reset"]
