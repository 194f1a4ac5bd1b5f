"""GPUs as torch and the kernel show them, or the CPU in their place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_GIB: Final = 2**30


def torch_devices() -> tuple[tuple[str, ...], tuple[float, ...], bool, str | None]:
    """Names of the GPUs, their memory in GiB, True where bf16 is in hardware, and the reason that
    torch does not import."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        return (), (), False, str(error).splitlines()[0]
    if not torch.cuda.is_available():
        from rvpo.runtime.precision import has_bf16

        return (), (), has_bf16(), None
    about = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    memory = tuple(device.total_memory / _GIB for device in about)
    names = tuple(f"{d.name} ({size:.0f} GiB)" for d, size in zip(about, memory, strict=True))
    return names, memory, torch.cuda.is_bf16_supported(including_emulation=False), None


def attention() -> str:
    """The kernels that torch has for the attention of a usual model in bf16."""
    import torch

    from rvpo.runtime.ranks import Ranks
    from rvpo.trainer.attention import leave_out_cudnn
    from rvpo.trainer.attention_kernel import USUAL, attention_kernels

    leave_out_cudnn()  # as a run does
    return attention_kernels(USUAL, torch.bfloat16, Ranks.alone().device)


def cuda_version() -> str | None:
    """The version of CUDA that torch is built for."""
    import torch

    return torch.version.cuda


def driver_version() -> str | None:
    """The version of NVIDIA's driver."""
    about = Path("/proc/driver/nvidia/version")
    found = re.search(r"\s(\d+\.[\d.]+)\s", about.read_text() if about.exists() else "")
    return found[1] if found else None
