"""Processes of a run: ranks, seeds, launching, signals, and what a terminal is shown."""
