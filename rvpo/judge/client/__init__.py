"""The trainer's side of judging: it starts workers and sends them jobs."""
