"""Data sets that bring rubrics."""
