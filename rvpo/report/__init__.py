"""Reports of a run: its folder, its terminal, its curves, trackers, the held-out comparison."""
