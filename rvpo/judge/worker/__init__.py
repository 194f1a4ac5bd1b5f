"""The worker's side of judging, a process of its own that never imports torch."""
