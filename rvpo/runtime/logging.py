"""Keeps what libraries say to their developers off the user's terminal; errors still appear."""

from __future__ import annotations

import logging
import os
import warnings

_ENVIRONMENT = {
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def quiet_libraries() -> None:
    """Call before torch is imported: its C++ part reads its log level once.

    What the user has set in the environment stays.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in (
        "accelerate",
        "bitsandbytes",
        "bitsandbytes",
        "deepspeed",
        "DeepSpeed",
        "torch",
        "vllm",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="accelerate")
