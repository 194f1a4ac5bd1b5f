"""A program that serves a sequence classifier: vLLM's `/classify` route, with transformers."""
