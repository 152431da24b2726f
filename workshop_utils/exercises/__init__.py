"""Exercises: one module a lesson with its checks, the references generated from the lessons, the learner's progress."""

from workshop_utils.exercises.notebook import check, hint, progress, solution

__all__ = ["check", "hint", "progress", "solution"]
