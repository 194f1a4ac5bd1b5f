"""What a run tells: its folder, its terminal, its curves, W&B, the held-out comparison."""
