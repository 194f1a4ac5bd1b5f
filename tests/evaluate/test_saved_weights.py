"""The weights of a saved model are copies, as an engine may write them into a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from rvpo.evaluate.weights import SavedWeights


def test_tied_weights_of_a_saved_model_come_apart(tiny_model: Path, tmp_path: Path) -> None:
    weights = SavedWeights(str(tiny_model), torch.float32, trust_remote_code=False).as_saved()
    state = dict(weights)
    assert torch.equal(state["lm_head.weight"], state["model.embed_tokens.weight"])
    save_file(state, tmp_path / "model.safetensors")  # which refuses tensors that share memory
