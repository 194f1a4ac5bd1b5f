"""AdamW in host memory, by DeepSpeed's own kernel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.trainer.optimizers.optimizer import Optimizer, ParameterGroups

_INSTEAD = "update.optimizer=adamw, whose kernel of torch's needs no compiler and is as fast"


def _compile() -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    from deepspeed.ops.op_builder import CPUAdamBuilder

    CPUAdamBuilder().load(verbose=False)


def _forget(optimizer: Any, *_: object) -> None:
    """Have the kernel compute the powers of both betas, which it would multiply on from call to
    call: a run that goes on has made no calls, and would round them otherwise."""
    usual = optimizer.defaults
    nothing = [torch.zeros(1) for _ in range(4)]
    other_step, rate, decay = 2**30, 0.0, 0.0
    optimizer.ds_opt_adam.adam_update(
        *(optimizer.opt_id, other_step, rate, *usual["betas"], usual["eps"], decay, True, *nothing)
    )


class CPUAdam(Optimizer):
    """DeepSpeed's CPUAdam (Ren et al. 2021, arXiv:2101.06840), which is compiled at its first use.

    Args:
        build: compiles and loads the kernel; raises what torch raises.
        find: the path of a program, None where there is none.
    """

    def __init__(
        self,
        build: Callable[[], None] = _compile,
        find: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._build = build
        self._find = find

    def lack(self) -> str | None:
        """See `Optimizer.lack`."""
        compilers = [os.environ.get("CXX") or "c++", "ninja"]
        missing = [name for name in compilers if self._find(name) is None]
        if not missing:
            return None
        return (
            f"update.optimizer: cpu_adam is compiled at its first use, and this machine has no "
            f"{' and no '.join(missing)}; write: sudo apt-get install -y g++ ninja-build, or "
            f"{_INSTEAD}"
        )

    def prepare(self, say: Callable[[str], None]) -> None:
        """See `Optimizer.prepare`."""
        say("update.optimizer: cpu_adam is compiled, which takes a minute at its first use")
        try:
            self._build()
        except (RuntimeError, ImportError, OSError) as error:  # torch's, of any failure to build
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"update.optimizer: cpu_adam cannot be compiled here ({said[0]}); write {_INSTEAD}"
            ) from error

    def build(self, groups: ParameterGroups, update: UpdateConfig) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        optimizer: torch.optim.Optimizer = DeepSpeedCPUAdam(
            groups, lr=update.lr, betas=update.betas, adamw_mode=True
        )
        optimizer.register_step_pre_hook(_forget)
        return optimizer

    def allocate(self, optimizer: Any, group: int, partition: Tensor) -> None:
        """See `Optimizer.allocate`."""
        optimizer.state[partition] = {
            "step": 0,
            "exp_avg": torch.zeros_like(partition, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(partition, requires_grad=False),
        }
