"""HealthBench: responses to health questions, judged by physicians' criteria. arXiv:2505.08775."""
