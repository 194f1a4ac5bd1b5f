"""Benchmarks, faithful to their references: after training by `rvpo evaluate`, or during it."""
