"""torch and numpy, each imported when it is first used.

Settings need the fields of estimators and benchmarks and not their arrays: without them,
`rvpo show` and a misspelt key are answered in a fraction of the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as numpy
    import torch as torch
else:

    class _Library:
        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            value = getattr(import_module(self._name), name)
            setattr(self, name, value)
            return value

    numpy = _Library("numpy")
    torch = _Library("torch")
