"""`rvpo chat`: talk to what a run has trained, beside the model that it came from."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from rvpo.commands.engine import build_engine
from rvpo.config.run import RunConfig, load_config
from rvpo.data.encoder import encoder_of
from rvpo.errors import ConfigError, DataError
from rvpo.evaluate.weights import SavedWeights
from rvpo.fields import SMALLEST_TEMPERATURE
from rvpo.model_files import reading_model, resolve_model
from rvpo.report.run_folder import RunFolder, steps_in
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.transformers_engine import TransformersConfig
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.sampling import Sampling
from rvpo.types import Message, Prompt, Sample

NEW: Final = "/new"
"""Line that begins another conversation."""
_HELP: Final = f"An empty line is skipped, {NEW} begins another conversation, Ctrl-D ends."
_PROMPT: Final = "you> "


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """The wishes of the command line; None for what the run has.

    Raises:
        ConfigError: there is no such temperature.
    """

    system: str | None = None
    """System prompt; empty for none."""
    temperature: float | None = None
    tokens: int | None = None
    seed: int = 0
    alone: bool = False
    """The model that the run came from is left out."""

    def __post_init__(self) -> None:
        given = self.temperature
        if given is not None and not (given == 0 or SMALLEST_TEMPERATURE <= given < math.inf):
            raise ConfigError(
                f"--temperature: must be 0, or at least {SMALLEST_TEMPERATURE}, got {given}"
            )

    def sampling(self, config: RunConfig) -> Sampling:
        """Way in which answers are drawn: as those to held-out prompts, but for what is wished."""
        usual = config.rollout.sampling
        drawn = config.evaluate.sampling(usual) or usual
        return replace(
            drawn,
            temperature=drawn.temperature if self.temperature is None else self.temperature,
            max_completion_tokens=self.tokens or drawn.max_completion_tokens,
        )


class Speaker:
    """One model, and the conversation with it.

    Args:
        name: shown before each answer.
        drawn: way in which its answers are.
        prefill: text that begins every answer.
        check: refuses a prompt that leaves no room for one.
        tools: those that it may call, which the engine answers.
    """

    def __init__(
        self,
        name: str,
        engine: RolloutEngine,
        options: ChatOptions,
        drawn: Sampling,
        prefill: str = "",
        check: Callable[[Prompt], object] = ignore,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.name = name
        self._check = check
        self._engine = engine
        self._options = options
        self._prefill = prefill
        self._tools = tuple(tools)
        self._drawn = drawn
        self._said: list[Message] = []
        self.begin()

    def begin(self) -> None:
        """Begin another conversation."""
        system = self._options.system
        self._said = [{"role": "system", "content": system}] if system else []

    def answer(self, text: str) -> Sample:
        """The answer to the next turn. The same seed is taken for each model.

        Raises:
            DataError: the conversation leaves no room for it; then the turn is forgotten.
        """
        asked = [*self._said, {"role": "user", "content": text}]
        seed = derived_seed(self._options.seed, "chat", len(asked))
        prompt = Prompt(id="chat", messages=tuple(asked), tools=self._tools, prefill=self._prefill)
        self._check(prompt)
        (sample,) = self._engine.generate([prompt], 1, seed, sampling=self._drawn).samples
        self._said = [*asked, *_between(sample), {"role": "assistant", "content": sample.answer}]
        return sample

    def close(self) -> None:
        """End its engine, and whatever answers it."""
        self._engine.close()


def trained_model(run: RunFolder) -> Path:
    """The last model of a run, the best one, or the newest that it saved on its way.

    Raises:
        ConfigError: it has saved none.
    """
    on_the_way = sorted(steps_in(run.models).items(), key=lambda found: -found[1])
    for folder in (run.model, run.best, *(path for path, _ in on_the_way)):
        if (folder / "config.json").is_file():
            return folder
    raise ConfigError(
        f"{run.path} has saved no model: a run does so at its end, and on its way with "
        "checkpoint.models_every=N; wait for it, or have one that was stopped go on: rvpo train "
        "--resume"
    )


def chat(folder: Path, prompt: str | None, options: ChatOptions, console: Console) -> None:
    """Answer one prompt, or one line after the other until the input ends.

    Args:
        folder: the run's.
        prompt: the one; None reads lines.

    Raises:
        ConfigError: the folder holds no run, or no model, or the one prompt is empty.
        DataError: the one prompt is too long.
    """
    if prompt is not None and not prompt.strip():
        raise ConfigError(
            "--prompt: is empty; give a text, or leave it out to type line after line"
        )
    run = RunFolder(folder)
    if not run.config.is_file():
        lack = f"it has no {run.config.name}" if folder.is_dir() else "there is no such folder"
        raise ConfigError(
            f"{folder} is no folder of a run, for {lack}; give one that `rvpo train` wrote, such "
            "as runs/NAME"
        )
    config = load_config(run.config)
    with ExitStack() as stack:
        speakers = []
        for speaker in _speakers(run, config, options):
            stack.callback(speaker.close)
            speakers.append(speaker)
        _talk(speakers, prompt, console)


def _talk(speakers: Sequence[Speaker], prompt: str | None, console: Console) -> None:
    """Answer the one prompt, or the lines of the input."""
    if prompt is not None:
        _say(speakers, prompt, console)
        return
    if sys.stdin.isatty():
        console.print(_HELP, style="dim")
    for line in _lines(console):
        if line == NEW:
            for speaker in speakers:
                speaker.begin()
        elif line:
            try:
                _say(speakers, line, console)
            except DataError as error:
                console.print(str(error), style="yellow")


def _speakers(run: RunFolder, config: RunConfig, options: ChatOptions) -> Iterator[Speaker]:
    trained = trained_model(run)
    paths = {trained.name: str(trained)}
    if not options.alone:
        paths = {"before": _model_before(config)} | paths
    encoder, drawn = (
        encoder_of(config.model, config.rollout, str(trained)),
        options.sampling(config),
    )

    tokens, context = drawn.max_completion_tokens, encoder.max_context_tokens
    if tokens >= context:
        raise ConfigError(
            f"--tokens: {tokens} leave no room for a prompt in the context of {context}; give less"
        )

    def fits(ids: Sequence[int]) -> None:
        if len(ids) > context - tokens:
            raise DataError(
                f"the conversation has {len(ids)} tokens and leaves no room for an answer of "
                f"{tokens} in the context of {context}; write less, begin another with {NEW}, or "
                "lower --tokens"
            )

    def check(prompt: Prompt) -> None:
        encoder.check_lengths([prompt], tokens, fits)

    if options.system is None:
        options = replace(options, system=config.data.system_prompt)
    for name, path in paths.items():
        engine = _engine(config, path, encoder)
        tools: Sequence[Mapping[str, Any]] = ()
        if config.environment is not None:
            world = config.environment.open()
            tools = world.tools
            engine = EpisodeEngine(engine, world, config.environment, encoder, drawn)
        yield Speaker(name, engine, options, drawn, config.data.prefill, check, tools)


def _model_before(config: RunConfig) -> str:
    try:
        return resolve_model(config.model.path)
    except ConfigError as error:
        raise ConfigError(f"{error}; or leave the model before training out: --alone") from error


def _engine(config: RunConfig, path: str, encoder: Encoder) -> RolloutEngine:
    rollout = config.rollout.model_copy(update={"engine": TransformersConfig()})
    with reading_model(path, "rvpo chat"):
        engine = build_engine(config.model, rollout, path, encoder, config.seed, Ranks.alone())
    model = config.model
    weights = SavedWeights(path, model.dtype, trust_remote_code=model.trust_remote_code)
    engine.load_weights(weights, version=0)
    return engine


def _say(speakers: Sequence[Speaker], text: str, console: Console) -> None:
    """The answers of all models, one below the other, with thoughts apart from them."""
    for speaker in speakers:
        sample = speaker.answer(text)
        console.print(f"--- {speaker.name}", style="bold")
        for message in _between(sample):
            said = f"{message['role']}: {message['content']}"
            console.print(Text(said, style="dim"), soft_wrap=True)
        if sample.thought:
            console.print(Text(sample.thought, style="dim italic"), soft_wrap=True)
            console.print("---", style="dim")
        console.print(sample.answer or "(no answer)", soft_wrap=True)
        if sample.finish_reason == "length":
            console.print(
                f"(cut off after {len(sample.completion_ids)} tokens; --tokens allows more)",
                style="dim",
            )
        elif sample.episode is not None and sample.episode.ending != "answered":
            ended = sample.episode.ending.replace("_", " ")
            console.print(f"(ended {ended})", style="dim")


def _between(sample: Sample) -> list[Message]:
    """The turns of an episode before the last one, without what else is known of them; none of a
    single answer."""
    messages = () if sample.episode is None else sample.episode.messages[:-1]
    return [{"role": each["role"], "content": each["content"]} for each in messages]


def _lines(console: Console) -> Iterator[str]:
    """Lines of the input, until it ends."""
    read: Callable[[], str] = sys.stdin.readline
    if sys.stdin.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401  # arrow keys and a history for `input`
        while True:
            try:
                yield input(_PROMPT).strip()
            except EOFError:
                console.print()
                return
    while line := read():
        yield line.strip()
