"""The way of new weights, or of adapters, from the trainer to all servers."""
