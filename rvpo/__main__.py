"""`python -m rvpo`, the same as `rvpo`."""

import os
import sys

# `python -m` searches the working folder first, where a user's `queue.py` would hide Python's.
if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
    sys.path.append(sys.path.pop(0))

from rvpo.cli import main

main()
