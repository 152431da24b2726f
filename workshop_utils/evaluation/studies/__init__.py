"""Measurements too long for a lesson: each is a command, ``workshop bench NAME``, and its figures lie in data/results.

Every module has ``study(console)``, which returns the figures for JSON; ``table(result)``, which shows them; and
``inputs_hash()`` of all in the repository that they depend on: a test compares it with the stored one.
"""
