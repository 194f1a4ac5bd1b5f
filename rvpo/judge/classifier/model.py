"""A sequence classifier in memory: inputs become tokens, and tokens become scores."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from rvpo.errors import ConfigError

DTYPES: Final = {"bf16": torch.bfloat16, "fp32": torch.float32}
_LONGEST: Final = 10**9  # tokenizers without a limit name a number far beyond


class InputRefused(ValueError):
    """An input that the classifier cannot score. Its text says why."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Everything that a classifier is loaded from."""

    path: str
    precision: str = "fp32"
    device: str = "cpu"
    max_input_tokens: int | None = None
    allow_pickle: bool = False


class Classifier:
    """The model, its tokenizer, and the names of its labels.

    Args:
        model: in evaluation mode, where it computes.
        max_input_tokens: tokens of the longest input, if not the model's own limit.
    """

    def __init__(self, model: Any, tokenizer: Any, max_input_tokens: int | None = None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        given = max_input_tokens or _longest(model.config, tokenizer)
        self.longest = min(given, _positions(model))
        """Tokens of the longest input."""
        # Of a decoder the last token that is no padding is read: the model must know which is.
        pad = model.config.get_text_config().pad_token_id
        self.batches = pad is not None and pad == tokenizer.pad_token_id
        """True where inputs of several lengths can be scored together."""
        tokenizer.padding_side = "right"  # positions count from the first token on
        self._activation = _activation(model.config)
        self._taken = frozenset(inspect.signature(type(model).forward).parameters)

    @classmethod
    def load(cls, loading: Loading) -> Classifier:
        """Read model and tokenizer. No code that comes with them is run.

        Raises:
            ConfigError: there is no classifier with trained scores.
        """
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(loading.path, trust_remote_code=False)
        model, told = AutoModelForSequenceClassification.from_pretrained(
            loading.path,
            dtype=DTYPES[loading.precision],
            trust_remote_code=False,
            use_safetensors=None if loading.allow_pickle else True,
            output_loading_info=True,
        )
        if missing := sorted(told["missing_keys"]):
            raise ConfigError(
                f"{loading.path!r} is no trained classifier: its files have no weights "
                f"{', '.join(missing[:3])}, and made-up ones would score at random; give a model "
                "that was saved by AutoModelForSequenceClassification"
            )
        return cls(model.to(loading.device).eval(), tokenizer, loading.max_input_tokens)

    @property
    def labels(self) -> Mapping[int, str]:
        """The name of each score."""
        return dict(self._model.config.id2label)

    def tokens(self, fields: Mapping[str, Any]) -> dict[str, list[int]]:
        """Tokens of an input: of `messages`, or of `input` with or without its `text_pair`.

        Raises:
            InputRefused: it is too long, or the chat template does not take it.
        """
        if "messages" in fields:
            text, add = self._chat(fields["messages"]), False  # which its template adds
        else:
            text, add = fields["input"], True
        pair = fields.get("text_pair")
        found = self._tokenizer(text, pair, add_special_tokens=add, truncation=False, verbose=False)
        if (length := len(found["input_ids"])) > self.longest:
            raise InputRefused(
                f"the input is too long: {length:,} tokens, and the classifier reads "
                f"{self.longest:,}"
            )
        if not length:
            raise InputRefused("the input has no tokens")
        return {name: ids for name, ids in found.items() if name in self._taken}

    def logits(self, inputs: Sequence[Mapping[str, list[int]]]) -> list[list[float]]:
        """The scores of each input, before softmax or sigmoid."""
        if len(inputs) == 1:
            tensors = {name: torch.tensor([ids]) for name, ids in inputs[0].items()}
        else:
            tensors = dict(self._tokenizer.pad(list(map(dict, inputs)), return_tensors="pt"))
        device = self._model.device
        with torch.inference_mode():
            found = self._model(**{name: each.to(device) for name, each in tensors.items()})
        rows: list[list[float]] = found.logits.float().cpu().tolist()
        return rows

    def probabilities(self, logits: Sequence[float]) -> list[float]:
        """Scores after the classifier's softmax or sigmoid; as they are where it has neither."""
        found: list[float] = self._activation(torch.tensor(logits, dtype=torch.float64)).tolist()
        return found

    def _chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(list(messages), tokenize=False)
        except Exception as error:  # a template raises whatever it likes
            raise InputRefused(f"its chat template does not take the conversation: {error}") from (
                error
            )
        return text


def _activation(config: Any) -> Any:
    """The function from scores to probabilities, chosen as transformers' loss and vLLM choose it:
    by the problem that a model was trained on, else by the number of its labels."""
    problem, name = config.problem_type, _sentence_transformers(config)
    if problem == "regression" or (problem is None and name.endswith("Identity")):
        return torch.nn.Identity()
    if problem == "multi_label_classification":
        return torch.sigmoid
    if problem is None and config.num_labels == 1:
        return torch.sigmoid
    return torch.nn.Softmax(dim=-1)


def _sentence_transformers(config: Any) -> str:
    """The function that a cross-encoder names; empty where none is named."""
    given = getattr(config, "sentence_transformers", None) or {}
    named = given.get("activation_fn") or getattr(
        config, "sbert_ce_default_activation_function", None
    )
    return str(named or "")


def _longest(config: Any, tokenizer: Any) -> int:
    """Tokens of the longest input by a model's settings and its tokenizer's."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(positions or _LONGEST, tokenizer.model_max_length or _LONGEST, _LONGEST)


def _positions(model: Any) -> int:
    """Tokens that have a row in a model's tables of positions, which no setting can add to.

    Models of RoBERTa's kind count positions from after the row of the padding token.
    """
    found = [_LONGEST]
    for name, module in model.named_modules():
        table = getattr(module, "weight", None)
        if name.endswith((".position_embeddings", ".wpe")) and table is not None:
            padding = getattr(module, "padding_idx", None)
            found.append(len(table) if padding is None else len(table) - padding - 1)
    return min(found)
