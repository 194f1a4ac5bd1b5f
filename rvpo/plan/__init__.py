"""What a run takes, and whether it could start here, without training."""
