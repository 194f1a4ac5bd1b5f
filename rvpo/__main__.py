"""`python -m rvpo`, the same as `rvpo`."""

from rvpo.cli import main

main()
