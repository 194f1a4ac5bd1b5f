"""The same training several ways, and what can be said of the difference."""
