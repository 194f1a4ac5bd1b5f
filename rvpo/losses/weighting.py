"""Weights of the losses of tokens in a step, over all ranks and micro-batches.

N is the number of samples that count and T_i the tokens of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Weighting = Literal["token_mean", "sequence_mean", "sequence_sum", "constant", "row_mean"]


def token_weights(
    weighting: Weighting,
    lengths: Sequence[int],
    rows: Sequence[int],
    max_completion_tokens: int,
    masked: int = 0,
) -> list[float]:
    """The weight of each token of each sample.

        token_mean      1 / Σ_i T_i        DAPO, arXiv:2503.14476, eq. 8
        sequence_mean   1 / (N T_i)        GRPO, arXiv:2402.03300, eq. 3
        sequence_sum    1 / N              LUSPO, arXiv:2602.05261
        constant        1 / (N T_max)      Dr. GRPO, arXiv:2503.20783, section 3.2
        row_mean        1 / (R Σ_j T_j)    BNPO, as TRL has it: over the samples j of one of the
                                           R micro-batches

    Args:
        lengths: [N] tokens of the samples that one optimizer update learns from.
        rows: [N] the micro-batch of each.
        max_completion_tokens: T_max.
        masked: samples that count in N and have no token in the loss.
    """
    count = len(lengths) + masked
    match weighting:
        case "token_mean":
            return [1 / sum(lengths)] * len(lengths)
        case "sequence_mean":
            return [1 / (count * length) for length in lengths]
        case "sequence_sum":
            return [1 / count] * len(lengths)
        case "constant":
            return [1 / (count * max_completion_tokens)] * len(lengths)
        case "row_mean":
            tokens: dict[int, int] = {}
            for row, length in zip(rows, lengths, strict=True):
                tokens[row] = tokens.get(row, 0) + length
            return [1 / (len(tokens) * tokens[row]) for row in rows]
