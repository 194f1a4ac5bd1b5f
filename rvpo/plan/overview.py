"""The data of a run as it reads them, to be looked at before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvpo.config.run import RunConfig
from rvpo.criterion import Criterion
from rvpo.data.encoder import encoder_of
from rvpo.data.histogram import Lengths
from rvpo.data.lengths import fitting
from rvpo.data.lengths import shortened as cut_short
from rvpo.data.packed import Picked
from rvpo.data.sources import named
from rvpo.data.splits import SourcePrompts, Splits
from rvpo.data.streamed import Streamed
from rvpo.data.survey import Pairs, Survey, in_both, shortened
from rvpo.data.visited import MANY, visited
from rvpo.errors import RvpoError
from rvpo.model_files import resolve_model
from rvpo.plan.data import read_data
from rvpo.plan.machine import Finding
from rvpo.rewards.rubric import RubricReward
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.spans import PromptSpan, spans
from rvpo.runtime.extras import installed
from rvpo.types import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt, and what its rewards know of it."""

    id: str
    spans: tuple[PromptSpan, ...]
    """The text that the model reads; without a tokenizer the turns, after their roles."""
    length: int
    columns: Mapping[str, str]
    """Other columns of its row, shortened."""
    criteria: Mapping[str, tuple[Criterion, ...]]
    """Those of each rubric that has any, by reward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """The prompts of one setting."""

    setting: str
    path: str
    """The file, dataset or function that they are from."""
    is_stream: bool
    """True where rows are read when their step comes: all that is shown is of the first."""
    survey: Survey
    lengths: Lengths
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriteriaCount:
    """Criteria of a rubric over the prompts of training and of held-out data."""

    reward: str
    prompts: int
    """Prompts that have any."""
    polarities: Mapping[str, int]
    classes: Mapping[str, int]
    axes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The data of a run."""

    sources: tuple[SourceView, ...]
    criteria: tuple[CriteriaCount, ...]
    in_both: Pairs | None
    """Held-out prompts that are trained on too; None where nothing is held out."""
    findings: tuple[Finding, ...]
    """Words on what was read and left out; of state `missing` those at which a run stops."""

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings at which a run stops."""
        return tuple(finding for finding in self.findings if finding.state == "missing")


def overview(config: RunConfig, examples: int, say: Callable[[str], None]) -> Overview:
    """Read the data of a run. No weights of a model are read, and nothing is asked of a judge.

    Args:
        examples: prompts of each source to show.
        say: told what is going on.
    """
    say("reading the data")
    data = read_data(config)
    findings = list(data.findings)
    prompts, encoder = _as_run(config, data.prompts, _encoder(config, findings), findings)
    look = _Look(config, data.rubrics, encoder, examples, findings)
    sources = []
    for part in prompts.parts:
        if part.prompts:
            say(f"measuring the prompts of {part.setting}")
            sources.append(look.at(part))
    held_out = prompts.held_out
    return Overview(
        sources=tuple(sources),
        criteria=tuple(_criteria(reward, prompts.every) for reward in data.rubrics),
        in_both=in_both(prompts.train, held_out) if held_out else None,
        findings=tuple(findings),
    )


def _as_run(
    config: RunConfig, prompts: Splits, encoder: Encoder | None, findings: list[Finding]
) -> tuple[Splits, Encoder | None]:
    """The prompts that a run keeps, and the encoder that cuts what is too long, as `data.too_long`
    says."""

    def note(text: str) -> None:
        findings.append(Finding("data", "ok", text.removeprefix("data.")))

    if encoder is None or not prompts.train:
        return prompts, encoder
    try:
        kept = fitting(config, prompts, encoder, note)
        return kept, cut_short(config, encoder, visited(config, kept).every, note)
    except RvpoError as error:
        findings.append(Finding("data", "missing", str(error)))
        return prompts, None


def _encoder(config: RunConfig, findings: list[Finding]) -> Encoder | None:
    """The model's tokenizer; None where it cannot be had, which becomes a finding."""
    if not installed("transformers"):
        reason = "transformers is not installed"
    else:
        try:
            path = resolve_model(config.model.path)
            return encoder_of(config.model, config.rollout, path)
        except RvpoError as error:
            reason = str(error)
    found = f"{reason}; lengths are in words, and prompts are shown without the chat template"
    findings.append(Finding("model", "note", found))
    return None


@dataclass(frozen=True)
class _Look:
    """The way in which every source is looked at."""

    config: RunConfig
    rubrics: Sequence[RubricReward]
    encoder: Encoder | None
    examples: int
    findings: list[Finding]

    def at(self, part: SourcePrompts) -> SourceView:
        prompts, encoder, lengths = part.prompts, self.encoder, None
        measured = _spread(prompts)
        if encoder is not None:
            try:
                lengths = _tokens(self.config, encoder, measured, part.setting, self.findings)
            except RvpoError as error:
                self.findings.append(Finding(part.setting, "missing", str(error)))
                encoder = None
        if lengths is None:
            lengths = Lengths.of([_words(prompt) for prompt in measured], "words")
        settings = self.config.data.train_sources | self.config.data.held_out_sources
        source = settings[part.setting]
        return SourceView(
            setting=part.setting,
            path=getattr(source, "function", "") or named(source).strip(" ()'"),
            is_stream=isinstance(prompts, Streamed),
            survey=Survey.of(prompts),
            lengths=lengths,
            examples=tuple(_example(p, self.rubrics, encoder) for p in prompts[: self.examples]),
        )


def _spread(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    """All prompts, or of very many some at equal distances."""
    if len(prompts) <= MANY:
        return prompts
    return Picked(prompts, [n * len(prompts) // MANY for n in range(MANY)])


def _tokens(
    config: RunConfig,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    setting: str,
    findings: list[Finding],
) -> Lengths:
    """Tokens of prompts, and what the chat template makes of them.

    Raises:
        DataError: the template refuses a prompt, or does not show a part of it.
    """

    def note(text: str) -> None:
        findings.append(Finding(setting, "note", text))

    encoder.check_fields(prompts, note)
    encoder.check_control_tokens(prompts, note)
    encoder.check_values(prompts, note)
    lengths: list[int] = []
    try:
        encoder.check_lengths(
            prompts, config.rollout.max_completion_tokens, lambda ids: lengths.append(len(ids))
        )
    except RvpoError as error:
        if len(lengths) < len(prompts):  # it is not about lengths
            raise
        findings.append(Finding(setting, "missing", str(error)))
    return Lengths.of(lengths, "tokens")


def _words(prompt: Prompt) -> int:
    return sum(len(text.split()) for _, text in prompt.turns)


def _example(prompt: Prompt, rubrics: Sequence[RubricReward], encoder: Encoder | None) -> Example:
    if encoder is None:
        shown: tuple[PromptSpan, ...] = tuple(
            PromptSpan(text, is_control)
            for role, said in prompt.turns
            for text, is_control in ((f"{role}: ", True), (f"{said}\n", False))
        )
        length = _words(prompt)
    else:
        ids = encoder.encode(prompt)
        shown, length = spans(encoder, ids), len(ids)
    own = {"id", *(reward.column for reward in rubrics if not reward.fixed)}
    criteria = {reward.name: reward.criteria(prompt) for reward in rubrics}
    columns: Mapping[str, Any] = prompt.columns
    return Example(
        id=prompt.id,
        spans=shown,
        length=length,
        columns={n: shortened(v) for n, v in columns.items() if v is not None and n not in own},
        criteria={name: found for name, found in criteria.items() if found},
    )


def _criteria(reward: RubricReward, prompts: Sequence[Prompt]) -> CriteriaCount:
    having, every = 0, Counter[tuple[str, str, str]]()
    for prompt in prompts:
        found = reward.criteria(prompt)
        having += bool(found)
        every.update((each.polarity, each.label, each.axis) for each in found)

    def by(place: int) -> dict[str, int]:
        counts = Counter[str]()
        for kinds, count in every.items():
            counts[kinds[place]] += count
        return {kind: count for kind, count in counts.most_common() if kind}

    return CriteriaCount(
        reward=reward.name, prompts=having, polarities=by(0), classes=by(1), axes=by(2)
    )
