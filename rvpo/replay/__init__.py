"""The stored scores of a run: what other estimators make of them, and which one suits."""
