"""Libraries that take longest to import, for a process that forks others."""

from __future__ import annotations

import gc

from rvpo.runtime.logging import quiet_libraries


def import_training() -> None:
    """Import what a policy update needs, so that none of the processes forked later has to."""
    quiet_libraries()
    import deepspeed.runtime.zero.stage3
    import transformers.models.llama.modeling_llama

    import rvpo.trainer.zero_policy

    del deepspeed, transformers, rvpo
    gc.freeze()  # what is there already is no child's to look through
