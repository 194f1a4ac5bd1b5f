"""The trained model as a folder that transformers and vLLM load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rvpo.errors import CheckpointError
from rvpo.report.run_folder import writing
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.zero_policy import ZeroPolicy


def export_model(policy: ZeroPolicy, tokenizer: Any, folder: Path, ranks: Ranks) -> None:
    """Write weights, settings and tokenizer; the folder appears when it is complete.

    Raises:
        CheckpointError: the disk is full, the folder may not be written, or the model's own code
            fails at it.
    """
    # All ranks gather, one keeps; a sharded model cannot write itself. Tied weights once.
    names = {name for name, _ in policy.model.named_parameters()}
    state = {}
    for name, tensor in policy.weights():
        if ranks.is_main and name in names:
            state[name] = tensor.cpu()
    if ranks.is_main:
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with writing(folder):
            # In the place of a file transformers writes nothing, and only logs that.
            partial.mkdir(parents=True)
            try:
                policy.model.save_pretrained(partial, state_dict=state)
                tokenizer.save_pretrained(partial)
            except OSError:
                raise
            except Exception as error:  # of settings and classes that come with the model
                raise CheckpointError(
                    f"{folder} cannot be written ({type(error).__name__}: {error}); what was "
                    "trained is in the newest checkpoint: correct the files of model.path, then "
                    "continue with --resume"
                ) from error
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    ranks.wait()
