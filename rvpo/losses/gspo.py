"""GSPO: the ratio of whole samples is clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rvpo.fields import PositiveFloat
from rvpo.losses.clipped import Clipped
from rvpo.losses.loss import LossInputs, sequence_ratio
from rvpo.losses.weighting import Weighting

if TYPE_CHECKING:
    from torch import Tensor


class GSPO(Clipped):
    """The clipped loss with s_i in place of ρ, averaged over each sample and then over samples.

        s_i = exp(mean_t (log π(a_t) − log π_old(a_t)))    over the tokens that count

    It is a mean over a whole response and moves far less than a token's ratio, so the defaults are
    those of the paper: Zheng et al. 2025, arXiv:2507.18071, eq. 7 and section 5.1.
    """

    name: Literal["gspo"] = "gspo"
    epsilon: PositiveFloat = 3e-4
    """ε, how far below 1 the ratio may fall before it is clipped."""
    epsilon_high: PositiveFloat | None = 4e-4
    """ε_high, how far above 1 it may rise; `epsilon` if it is null."""

    weighting: ClassVar[Weighting] = "sequence_mean"
    clips: ClassVar[Literal["tokens", "samples", "weights", "nothing"]] = "samples"

    def ratio(self, x: LossInputs) -> Tensor:
        """[T] s_i, at each of the sample's tokens."""
        return sequence_ratio(x.logprobs, x.old_logprobs, x.sample, x.lengths, x.counted)
