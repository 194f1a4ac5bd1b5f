"""A place for programs of others: no network, no files of ours, limits, and nothing outlives it."""
