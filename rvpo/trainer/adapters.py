"""The adapters of LoRA in a model that is sharded, and the weights that they make of it.

PEFT puts a layer of its own around each linear one: `q_proj.weight` becomes
`q_proj.base_layer.weight`, beside which are `q_proj.lora_A.default.weight` and the same of B.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from rvpo.errors import ConfigError
from rvpo.model_files import reading_model
from rvpo.rollout.engine import Weights
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.saved_form import saved_form
from rvpo.runtime.seed import derived_seed
from rvpo.trainer.lora_targets import target_layers
from rvpo.trainer.zero import GatheredWeights

T = TypeVar("T")

_NAME: Final = "default"
_PARTS: Final = ("base_layer", f"lora_A.{_NAME}", f"lora_B.{_NAME}")
"""The places in a layer of PEFT's of the three matrices, in the order of `named_parameters`."""

_USUAL_RATE: Final = 1e-5
"""Learning rate below which those for all weights are, in reinforcement learning."""


def rehearse_adapters(path: str, lora: LoraConfig, *, trust_remote_code: bool) -> None:
    """Put adapters into a model of which only the settings are read.

    Args:
        path: folder or Hub id of the model.

    Raises:
        ConfigError: see `add_adapters`.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    models: Any = AutoModelForCausalLM
    with torch.device("meta"):  # makes no weights
        with reading_model(path):
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
            model = models.from_config(config, trust_remote_code=trust_remote_code)
        add_adapters(model, lora, 0)


def add_adapters(model: Any, lora: LoraConfig, seed: int) -> None:
    """Freeze a model and put adapters into it, which change nothing yet.

    A is drawn uniformly within 1/√inputs, as PEFT does, from the seed alone; B is 0. Both are of
    the model's type, in which they compute and are sent to engines; DeepSpeed keeps them in fp32
    for the optimizer, as it does all that it trains.

    Args:
        model: a causal language model of transformers', whose weights may be sharded. Those of the
            adapters are whole on every rank until DeepSpeed takes the model over.
        seed: the run's.

    Raises:
        ConfigError: the targets are no layers that get an adapter.
    """
    import peft

    targets = target_layers(model, lora)
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # which it only divides
        lora_dropout=lora.dropout,
        target_modules=targets,
    )
    # PEFT draws, too; and it warns of layers that it has passed over, which are looked for here.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
        try:
            peft.inject_adapter_in_model(settings, model, _NAME)
        except ValueError as error:
            raise ConfigError(
                f"model.lora.targets: PEFT refuses these layers ({str(error).rstrip('.')}); name "
                "others"
            ) from error
    layers = adapted_layers(model)
    if layers.keys() != set(targets):
        raise ConfigError(_passed_over(targets, layers))
    for path, layer in layers.items():
        weight = layer.lora_A[_NAME].weight
        generator = torch.Generator().manual_seed(derived_seed(seed, "lora", path))
        drawn = torch.empty(weight.shape, device="cpu")
        nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator)
        weight.data.copy_(drawn)


def _passed_over(targets: Collection[str], layers: Collection[str]) -> str:
    """The sentence about layers that PEFT takes for others, as it does with names that experts had
    in earlier releases of transformers."""
    kept = dict.fromkeys(path.rpartition(".")[2] for path in targets if path in layers)
    lost = dict.fromkeys(path.rpartition(".")[2] for path in targets if path not in layers)
    left = [name for name in kept if name not in lost]
    instead = f"write model.lora.targets=[{', '.join(left)}]" if left else "leave model.lora out"
    return (
        f"model.lora.targets: PEFT takes {', '.join(lost) or 'some'} of this model for the experts "
        f"of its layers, which get no adapter; {instead}"
    )


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The layers with an adapter, which are PEFT's, by their paths; none in a model without."""
    found = ((path, module) for path, module in model.named_modules() if hasattr(module, "lora_A"))
    return dict(found)


def told(model: nn.Module, rate: float) -> str:
    """The adapters of a model in a sentence of a log.

    Args:
        rate: the learning rate.
    """
    sizes: dict[bool, int] = {True: 0, False: 0}
    for parameter in model.parameters():
        sizes[parameter.requires_grad] += getattr(parameter, "ds_numel", parameter.numel())
    text = (
        f"model.lora: {len(adapted_layers(model))} layers get adapters, whose {sizes[True]:,} "
        f"weights learn beside {sizes[False]:,} that do not"
    )
    if 0 < rate < _USUAL_RATE:
        text += (
            f"; update.lr {rate:g} is a rate for all weights: adapters take about ten times as much"
        )
    return text


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Have the model compute as if it had no adapters, meanwhile."""
    layers = list(adapted_layers(model).values())
    # `enable_adapters` would also tell autograd to forget them, and DeepSpeed with it.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


@contextmanager
def seeded_dropout(share: float, seed: int, device: torch.device) -> Iterator[None]:
    """Have adapters draw from a seed what they leave out meanwhile; all else draws as before.

    Args:
        share: part of their inputs that is left out; where it is 0 nothing is touched.
    """
    if not share:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def original_name(name: str) -> str:
    """Name of a weight in the model without adapters."""
    return name.replace(f".{_PARTS[0]}.", ".")


def saved_name(name: str) -> str:
    """Name of an adapter's weight in a file of PEFT's."""
    return f"base_model.model.{name.replace(f'.{_NAME}.', '.')}"


def is_of_adapter(name: str) -> bool:
    """True for the name of an adapter's weight in the model."""
    return name.endswith(tuple(f".{part}.weight" for part in _PARTS[1:]))


class AdapterWeights(GatheredWeights):
    """The adapters of a sharded model alone, under the names that PEFT's files have for them."""

    def as_saved(self) -> Weights:
        """See `Weights.as_saved`."""
        return self

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._module.named_parameters():
            if is_of_adapter(name):
                yield saved_name(name), parameter


class MergedWeights:
    """The weights of a model with adapters as one without: W + s B A, out of place, added up in
    fp32 and rounded to the type of W. Implements `Weights`.

    Args:
        weights: the model's own.
        model: a model of transformers' with adapters; its weights are not read.
    """

    def __init__(self, weights: Weights, model: Any) -> None:
        self._weights = weights
        self._model = model
        layers = adapted_layers(model)
        self._scaling = {path: layer.scaling[_NAME] for path, layer in layers.items()}
        self._layers = {f"{path}.{part}.weight": path for path in layers for part in _PARTS}
        self.share = MergedShare()
        """Share of the update that is left in the weights given last, as far as that went."""

    def as_saved(self) -> Weights:
        """See `Weights.as_saved`."""
        return saved_form(self, self._model)

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """See `Weights.layout`."""
        own = ((name, (dtype, shape)) for name, dtype, shape in self._weights.layout())
        return [(name, *parts[0]) for name, parts in self._together(own)]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """See `Weights.__iter__`."""
        self.share = MergedShare()
        for name, parts in self._together(self._weights):
            if len(parts) == 1:
                yield name, parts[0]
                continue
            weight, a, b = parts
            update = self._scaling[name.removesuffix(".weight")] * (b.float() @ a.float())
            merged = (weight.float() + update).to(weight.dtype)
            self.share.add(update, merged.float() - weight.float())
            yield name, merged

    def walk(self) -> None:
        """See `Weights.walk`."""
        self._weights.walk()

    def _together(self, items: Iterable[tuple[str, T]]) -> Iterator[tuple[str, list[T]]]:
        """Each weight under its original name; those of a layer with an adapter once, with A and
        B."""
        waiting: dict[str, list[T]] = {}
        for name, item in items:
            path = self._layers.get(name)
            if path is None:
                yield original_name(name), [item]
                continue
            parts = waiting.setdefault(path, [])
            parts.append(item)
            if len(parts) == len(_PARTS):
                yield f"{path}.weight", waiting.pop(path)


class MergedShare:
    """The share of an update that is left of it after rounding: ⟨R, D⟩ / ⟨D, D⟩, D being what is
    added to the weights and R what that changes of them. It is 1 where nothing is lost, and 0
    where all is too small to change a weight."""

    def __init__(self) -> None:
        self._left: Tensor | float = 0.0
        self._all: Tensor | float = 0.0

    def add(self, update: Tensor, change: Tensor) -> None:
        """Count a weight. Nothing waits for a GPU here."""
        self._left = self._left + (update * change).sum(dtype=torch.float64)
        self._all = self._all + update.square().sum(dtype=torch.float64)

    def metrics(self) -> dict[str, float]:
        """The share, where there is an update."""
        whole = float(self._all)
        return {"lora/merged_share": float(self._left) / whole} if whole else {}
