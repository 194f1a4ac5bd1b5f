"""Generation on vLLM servers, which are asked over HTTP and get their weights from the trainer."""
