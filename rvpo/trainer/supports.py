"""The tokens that could have been drawn at each place of a micro-batch, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor

from rvpo.rollout.supports import Supports


@dataclass(frozen=True, slots=True, eq=False)
class TokenSupports:
    """Supports of T tokens, K ids together."""

    ids: Tensor  # [K]
    places: Tensor  # [K] token of the micro-batch that each id could have been
    starts: Sequence[int]
    """[T + 1] place of the first id of each token, and the end of the last one's."""

    @staticmethod
    def of(samples: Sequence[Supports], device: torch.device) -> TokenSupports:
        """Those of samples, one after another."""
        flat = torch.tensor(list(chain.from_iterable(ids for ids, _ in samples)), device=device)
        counts = list(chain.from_iterable(counts for _, counts in samples))
        every = torch.arange(len(counts), device=device)
        return TokenSupports(
            ids=flat,
            places=every.repeat_interleave(torch.tensor(counts, device=device)),
            starts=(0, *accumulate(counts)),
        )

    def outside(self, rows: slice, vocabulary: int) -> Tensor:
        """[rows, V] bool, true for tokens that could not have been drawn."""
        some = slice(self.starts[rows.start], self.starts[rows.stop])
        shape = (rows.stop - rows.start, vocabulary)
        outside = torch.ones(shape, dtype=torch.bool, device=self.ids.device)
        outside[self.places[some] - rows.start, self.ids[some]] = False
        return outside
