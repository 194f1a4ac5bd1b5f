"""The plan of a run: its needs, and whether it could start here, without training."""
