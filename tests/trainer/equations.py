"""The losses of one sample by their equations, one token after the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.corrections import Mask, MaskAbove, MaskOlder, Truncate
from rvpo.losses import CISPO, SAPO, VESPO, Loss
from rvpo.losses.clipped import Clipped
from rvpo.trainer.batch import TrainedSample


def of_importance(config: UpdateConfig, s: TrainedSample, old: Tensor) -> Tensor:
    """What the losses of a sample's tokens are multiplied by."""
    w = torch.exp(old - torch.tensor(s.sampled_logprobs))
    if config.correction.corrected == "sequence":
        w = w.prod().expand(s.length)
    match config.correction:
        case Truncate(floor=floor, cap=cap):
            return w.clamp(floor, cap)
        case Mask(floor=floor, cap=cap):
            return w * ((w >= (1 / cap if floor is None else floor)) & (w <= cap))
        case MaskAbove(cap=cap):
            return w * (w <= cap)
        case MaskOlder(cap=cap, updates=updates):
            return w.clamp(max=cap) * torch.tensor([age <= updates for age in s.ages])
    return torch.ones(s.length)


def of_sample(loss: Loss, a: float, n: Tensor, o: Tensor, w: Tensor) -> list[Tensor]:
    """The loss of each token, importance weights included: of those that are not masked, as if
    the sample had no others."""
    kept, losses = w > 0, [torch.zeros(())] * len(n)
    of_kept = of_whole_sample if isinstance(loss, VESPO) else of_tokens
    places = [t for t in range(len(n)) if w[t] > 0]
    for t, value in zip(places, of_kept(loss, a, n[kept], o[kept], w[kept]), strict=True):
        losses[t] = value
    return losses


def of_tokens(loss: Loss, a: float, n: Tensor, o: Tensor, w: Tensor) -> list[Tensor]:
    """The losses of a sample's tokens, each times its importance weight."""
    found = []
    for t in range(len(n)):
        ratio = torch.exp(n[t] - o[t])
        match loss:
            case CISPO(cap=cap):
                value = -min(float(ratio.detach()), cap) * a * n[t]
            case SAPO(temperature=good, temperature_negative=bad):
                tau = good if a > 0 else bad
                value = -4 / tau / (1 + torch.exp(-tau * (ratio - 1))) * a
            case Clipped():
                ratio = torch.exp((n - o).mean()) if loss.clips == "samples" else ratio
                bounded = ratio.clamp(1 - loss.epsilon, 1 + (loss.epsilon_high or loss.epsilon))
                value = -torch.minimum(ratio * a, bounded * a)
                if loss.dual_clip is not None and a < 0:
                    value = value.minimum(torch.tensor(-loss.dual_clip * a))
        found.append(w[t] * value)
    return found


def of_whole_sample(loss: Loss, a: float, n: Tensor, o: Tensor, w: Tensor) -> list[Tensor]:
    """VESPO's, in which the importance weights are."""
    assert isinstance(loss, VESPO)
    k, decay = (loss.k, loss.decay) if a >= 0 else (loss.k_negative, loss.decay_negative)
    log_w = sum(
        math.log(max(factor, 1e-8)) + difference
        for factor, difference in zip(w.tolist(), (n - o).tolist(), strict=True)
    )
    log_w = min(max(log_w, math.log(1e-8)), 20.0)
    phi = math.exp(decay) * math.exp(log_w) ** k * math.exp(-decay * math.exp(log_w))
    return [-phi * a * each for each in n]
