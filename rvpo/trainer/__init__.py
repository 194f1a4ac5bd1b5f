"""The training loop and everything that moves weights."""
