"""Generation: prompts in, samples with the engine's own token ids and log-probabilities out."""
