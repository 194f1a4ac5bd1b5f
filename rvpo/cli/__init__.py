"""The command line. Heavy imports wait inside the commands, so `rvpo --help` answers at once."""

# In the order of the help text: each adds its commands when it is imported.
from rvpo.cli import running, measuring, results  # isort: skip
from rvpo.cli.app import app, main

__all__ = ["app", "main", "measuring", "results", "running"]
