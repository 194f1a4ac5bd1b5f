"""Rewards: functions that score completions, and the suite that makes them a matrix."""
