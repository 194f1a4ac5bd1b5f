"""Readers of files that hold data: what stands in them, and nothing guessed."""
