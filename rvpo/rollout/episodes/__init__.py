"""Rollouts of several turns: a world answers the policy beside generation."""
