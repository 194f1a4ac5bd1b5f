"""From settings to a finished run: builds the parts, then hands them to the loop."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rvpo.config import RunConfig, TransformersConfig, VllmConfig, dump_config, load_config
from rvpo.data.prompts import PromptStream, load_prompts
from rvpo.errors import ConfigError
from rvpo.model_files import resolve_model
from rvpo.provenance import provenance
from rvpo.report.curves import draw_curves
from rvpo.report.display import Display
from rvpo.report.held_out import HeldOutScores, compare, comparisons_json, render_table
from rvpo.report.record import Report, Reports
from rvpo.report.run_folder import MetricsFile, RunFolder, SampleFiles, write_json
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.evaluation import evaluate
from rvpo.trainer.export import export_model
from rvpo.trainer.interrupt import Interrupt
from rvpo.trainer.loop import train
from rvpo.trainer.ranks import Ranks
from rvpo.trainer.seed import derived_seed
from rvpo.trainer.zero import torch_dtype
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Prompt

MAY_CHANGE_ON_RESUME = {"steps", "checkpoint", "evaluate", "report"}


@dataclass(frozen=True)
class Inputs:
    """What a run reads, checked before anything is written or any model loaded."""

    model_path: str
    encoder: Encoder
    train: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    score: RewardSuite


def run(config: RunConfig, resume: bool) -> None:
    """Train, or go on training, what the settings describe.

    Args:
        resume: continue the run in `config.output` from its newest checkpoint.

    Raises:
        RvpoError: something the user can mend; the run folder stays usable.
        KeyboardInterrupt: a stop was asked for and everything done so far is saved.
    """
    ranks = Ranks.join()
    console = Console(quiet=not ranks.is_main)
    display = Display(config.steps, list(config.rewards), console)
    try:
        with (interrupt := Interrupt(ranks)).listening():
            _run(config, resume, ranks, display, interrupt, console)
    except KeyboardInterrupt:
        display.close()
        again = shlex.join(["rvpo", "train", "--config", f"{config.output}/config.yaml"])
        display.say(f"stopped; go on with: {again} --resume")
        raise
    finally:
        display.close()
        ranks.leave()


def _run(
    config: RunConfig,
    resume: bool,
    ranks: Ranks,
    display: Display,
    interrupt: Interrupt,
    console: Console,
) -> None:
    display.phase("reading model, prompts and rewards")
    inputs = read_inputs(config)
    folder = _open_folder(config, resume, ranks)
    checkpoints = Checkpoints(
        folder.checkpoints, every=config.checkpoint.every, keep=config.checkpoint.keep, ranks=ranks
    )
    display.phase("sharding the model with DeepSpeed ZeRO-3")
    policy = ZeroPolicy(config, inputs.model_path, ranks)
    checkpoints.check_space(policy)
    start = checkpoints.restore(policy) if resume else 0
    display.phase(f"starting {config.rollout.engine.name}")
    engine = build_engine(config, inputs, ranks)
    report = _build_report(config, folder, ranks, display)
    if ranks.is_main:
        folder.rewind(start)
    try:
        before = _scores_before(config, inputs, engine, policy, folder, ranks, display)
        train(
            PromptStream(inputs.train, config.rollout.prompts_per_step, config.seed),
            engine,
            inputs.score,
            config.advantage,
            policy,
            report,
            checkpoints,
            interrupt,
            ranks,
            group_size=config.rollout.samples_per_prompt,
            seed=config.seed,
            steps=range(start, config.steps),
        )
        display.phase("saving the model")
        export_model(policy, inputs.encoder.tokenizer, folder.model, ranks)
        after = _score_held_out(config, inputs, engine, ranks, display)
    finally:
        report.close()
        engine.close()
    if ranks.is_main:
        _conclude(config, folder, before, after, console)


def read_inputs(config: RunConfig) -> Inputs:
    """Read and check model files, prompts and rewards.

    Raises:
        ConfigError, DataError: whichever is wrong first.
    """
    score = RewardSuite.from_config(config.rewards)
    data = config.data
    prompts = load_prompts(data.train, data.system_prompt, "data.train")
    held_out: tuple[Prompt, ...] = ()
    if data.held_out is not None:
        held_out = load_prompts(data.held_out, data.system_prompt, "data.held_out")
        held_out = held_out[: config.evaluate.prompts]
    score.check((*prompts, *held_out))
    model_path = resolve_model(config.model.path)
    encoder = Encoder.from_model(
        model_path,
        trust_remote_code=config.model.trust_remote_code,
        max_context_tokens=config.rollout.engine.max_context_tokens,
    )
    encoder.check_lengths((*prompts, *held_out), config.rollout.max_completion_tokens)
    return Inputs(model_path, encoder, prompts, held_out, score)


def build_engine(config: RunConfig, inputs: Inputs, ranks: Ranks) -> RolloutEngine:
    """The engine that the settings name, without weights of its own choosing."""
    rollout = config.rollout
    match rollout.engine:
        case VllmConfig():
            from rvpo.rollout.vllm_engine import VllmEngine

            return VllmEngine(
                inputs.model_path,
                inputs.encoder,
                rollout.engine,
                dtype=torch_dtype(config),
                temperature=rollout.temperature,
                max_completion_tokens=rollout.max_completion_tokens,
                seed=derived_seed(config.seed, "engine", ranks.rank),
                in_process=ranks.size == 1 or ranks.device.type == "cuda",
                trust_remote_code=config.model.trust_remote_code,
            )
        case TransformersConfig():
            from transformers import AutoModelForCausalLM

            from rvpo.rollout.transformers_engine import TransformersEngine

            model: Any = AutoModelForCausalLM.from_pretrained(
                inputs.model_path,
                dtype=torch_dtype(config),
                trust_remote_code=config.model.trust_remote_code,
            )
            return TransformersEngine(
                model.to(ranks.device),
                inputs.encoder,
                rollout.engine,
                temperature=rollout.temperature,
                max_completion_tokens=rollout.max_completion_tokens,
            )


def _open_folder(config: RunConfig, resume: bool, ranks: Ranks) -> RunFolder:
    if resume:
        folder = RunFolder.open(config.output)
        _check_unchanged(config, folder.config)
    elif ranks.is_main:
        folder = RunFolder.create(config.output, dump_config(config), provenance())
    ranks.wait()
    return RunFolder.open(config.output)


def _check_unchanged(config: RunConfig, stored: Path) -> None:
    """A resumed run must be the same run; what only lengthens or watches it may differ."""
    old, new = load_config(stored).model_dump(), config.model_dump()
    changed = [
        name
        for name in old
        if name not in MAY_CHANGE_ON_RESUME | {"output"} and old[name] != new[name]
    ]
    if changed:
        raise ConfigError(
            f"{stored}: this run was started with other settings in {', '.join(changed)}; resume "
            f"it with --config {stored}, or start a new run with another output"
        )


def _build_report(config: RunConfig, folder: RunFolder, ranks: Ranks, display: Display) -> Report:
    if not ranks.is_main:
        return SampleFiles(folder, ranks.rank)
    reports: list[Report] = [SampleFiles(folder, 0), MetricsFile(folder)]
    if config.report.wandb:
        from rvpo.report.tracking import WandbReport

        reports.append(
            WandbReport(
                folder,
                project=config.report.project,
                group=config.report.group,
                config=config.model_dump(mode="json"),
                say=display.say,
            )
        )
    return Reports(*reports, display)


def _scores_before(
    config: RunConfig,
    inputs: Inputs,
    engine: RolloutEngine,
    policy: ZeroPolicy,
    folder: RunFolder,
    ranks: Ranks,
    display: Display,
) -> HeldOutScores | None:
    """Of the untrained policy: measured once, then kept in the run folder."""
    path = folder.path / "held_out_before.json"
    if path.exists():
        return HeldOutScores.from_json(json.loads(path.read_text(encoding="utf-8")))
    engine.load_weights(policy.named_weights(), version=0)
    scores = _score_held_out(config, inputs, engine, ranks, display)
    if scores is not None and ranks.is_main:
        write_json(path, scores.to_json())
    return scores


def _score_held_out(
    config: RunConfig, inputs: Inputs, engine: RolloutEngine, ranks: Ranks, display: Display
) -> HeldOutScores | None:
    if not inputs.held_out:
        return None
    display.phase(f"scoring {len(inputs.held_out)} held-out prompts")
    return evaluate(
        inputs.held_out,
        engine,
        inputs.score,
        ranks,
        samples_per_prompt=config.evaluate.samples_per_prompt,
        seed=config.seed,
    )


def _conclude(
    config: RunConfig,
    folder: RunFolder,
    before: HeldOutScores | None,
    after: HeldOutScores | None,
    console: Console,
) -> None:
    draw_curves(folder.metrics, list(config.rewards), folder.curves, title=folder.path.name)
    if before is not None and after is not None:
        comparisons = compare(before, after, config.seed)
        write_json(folder.held_out, comparisons_json(comparisons))
        console.print(render_table(comparisons))
    console.print(f"model   {folder.model}\ncurves  {folder.curves}\nmetrics {folder.metrics}")
