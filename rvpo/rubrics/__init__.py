"""Rubrics: what criteria are, and the data sets that bring them."""
