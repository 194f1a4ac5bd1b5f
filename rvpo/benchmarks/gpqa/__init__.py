"""GPQA: questions that search engines do not answer. arXiv:2311.12022."""
