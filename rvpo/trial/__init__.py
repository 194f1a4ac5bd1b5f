"""Trying a rubric on completions before a run trains on it."""
