"""Generation by vLLM servers that are reached by their addresses."""
