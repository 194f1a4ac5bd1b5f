"""From settings to a finished run: builds the parts, then hands them to the loop."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from rvpo.config import RunConfig, dump_config, load_config
from rvpo.errors import ConfigError
from rvpo.judge.config import IDENTITY
from rvpo.judge.service import JudgeService
from rvpo.provenance import provenance
from rvpo.report.curves import draw_curves
from rvpo.report.display import Display
from rvpo.report.held_out import HeldOutScores, compare, comparisons_json, render_table
from rvpo.report.record import Report, Reports
from rvpo.report.run_folder import MetricsFile, RunFolder, SampleFiles, write_json, write_text
from rvpo.rollout.engine import RolloutEngine
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.evaluation import evaluate
from rvpo.trainer.export import export_model
from rvpo.trainer.inputs import Inputs, build_engine, build_stream, read_inputs
from rvpo.trainer.interrupt import Interrupt
from rvpo.trainer.loop import train
from rvpo.trainer.ranks import Ranks
from rvpo.trainer.zero_policy import ZeroPolicy

MAY_CHANGE_ON_RESUME = (
    *("output", "steps", "checkpoint", "report", "distributed.patience_minutes"),
    *("rollout.engine.gpu_memory", "rollout.engine.cpu_kv_cache_gib", "rollout.engine.devices"),
    *("update.micro_batch_tokens", "update.logits_chunk", "update.activation_checkpointing"),
)
"""What lengthens a run, watches it or fits it to a machine, and leaves what it computes alone."""


def run(config: RunConfig, resume: bool) -> None:
    """Train, or go on training, what the settings describe.

    Args:
        resume: continue the run in `config.output` from its newest checkpoint.

    Raises:
        RvpoError: something the user can mend; the run folder stays usable.
        KeyboardInterrupt: a stop was asked for and everything done so far is saved.
    """
    patience = config.distributed.patience_minutes
    ranks = Ranks.join(patience)
    console = Console(quiet=not ranks.is_main)
    display = Display(config.steps, console)
    try:
        with ranks.patience(patience):
            _run(config, resume, ranks, display, console)
    except KeyboardInterrupt:
        display.close()
        display.say(_farewell(config.output))
        raise
    finally:
        display.close()
        ranks.leave()


def _run(config: RunConfig, resume: bool, ranks: Ranks, display: Display, console: Console) -> None:
    display.phase("reading model, prompts and rewards")
    folder = RunFolder(config.output)
    if resume:
        folder = RunFolder.open(config.output)
        _check_unchanged(config, folder.config)
    else:
        folder.require_free()
    inputs = read_inputs(config, display.say)
    with ExitStack() as stack:
        judge = _start_judge(config, inputs, ranks, stack)
        display.phase("sharding the model with DeepSpeed ZeRO-3")
        policy = ZeroPolicy(config, inputs.model_path, ranks, display.say)
        display.phase(f"starting {config.rollout.engine.name}")
        engine = build_engine(config, inputs, ranks)
        stack.callback(engine.close)
        inputs = _connect_judge(config, inputs, judge, ranks, display)
        # Only now: what fails before leaves no trace in the folder.
        if ranks.is_main:
            _prepare_folder(config, resume, stack)
        ranks.wait()
        checkpoints = Checkpoints(
            folder.checkpoints,
            every=config.checkpoint.every,
            keep=config.checkpoint.keep,
            ranks=ranks,
        )
        checkpoints.check_space(policy)
        start = checkpoints.restore(policy) if resume else 0
        if start > config.steps:
            raise ConfigError(f"steps: {config.steps} are fewer than the {start} already done")
        if ranks.is_main:
            folder.rewind(start)
        report = _build_report(config, folder, ranks, display)
        stack.callback(report.close)
        before, after = _train(
            config, inputs, engine, policy, report, checkpoints, folder, ranks, display, start
        )
    if ranks.is_main:
        _conclude(config, inputs, folder, before, after, console)


def _start_judge(
    config: RunConfig, inputs: Inputs, ranks: Ranks, stack: ExitStack
) -> JudgeService | None:
    """A judge, where a reward needs one: on its way up while everything else starts."""
    if config.judge is None or not inputs.score.is_judged:
        return None
    on_gpu = ranks.device.type == "cuda"
    judge = JudgeService(config.judge, is_main=ranks.is_main, on_gpu=on_gpu)
    stack.callback(judge.close)
    return judge


def _connect_judge(
    config: RunConfig, inputs: Inputs, judge: JudgeService | None, ranks: Ranks, display: Display
) -> Inputs:
    """The inputs with rewards that can ask the judge."""
    if config.judge is None or judge is None:
        return inputs
    display.phase("waiting for the judge")
    client = judge.connect(ranks.gather_objects)
    return replace(inputs, score=inputs.score.judged_by(client, config.judge.budget, display.phase))


def _train(
    config: RunConfig,
    inputs: Inputs,
    engine: RolloutEngine,
    policy: ZeroPolicy,
    report: Report,
    checkpoints: Checkpoints,
    folder: RunFolder,
    ranks: Ranks,
    display: Display,
    start: int,
) -> tuple[HeldOutScores | None, HeldOutScores | None]:
    """Held-out scores, the loop, the saved model, held-out scores again."""
    before = _scores_before(config, inputs, engine, policy, folder, ranks, display)
    with (interrupt := Interrupt(ranks, display.say)).listening():
        steps = range(start, config.steps)
        with closing(build_stream(config, inputs, engine, ranks, steps)) as stream:
            train(
                stream,
                config.advantage,
                policy,
                report,
                checkpoints,
                interrupt,
                ranks,
                steps,
            )
    display.phase("saving the model")
    export_model(policy, inputs.encoder.tokenizer, folder.model, ranks)
    return before, _score_held_out(config, inputs, engine, ranks, display)


def _prepare_folder(config: RunConfig, resume: bool, stack: ExitStack) -> None:
    """Make the folder or take it over, and keep others out of it as long as the stack lasts."""
    folder = RunFolder(config.output)
    if resume:
        stack.enter_context(folder.locked())
        write_text(folder.config, dump_config(config))
    else:
        RunFolder.create(config.output, dump_config(config), provenance())
        stack.enter_context(folder.locked())


def _farewell(output: Path) -> str:
    config = output / "config.yaml"
    if not config.exists():
        return "stopped before the first step; nothing was written"
    again = shlex.join(["rvpo", "train", "--config", str(config), "--resume"])
    return f"stopped; go on with: {again}"


def _check_unchanged(config: RunConfig, stored: Path) -> None:
    """A resumed run must be the same run."""
    old, new = _what_counts(load_config(stored)), _what_counts(config)
    changed = [name for name in old | new if old.get(name) != new.get(name)]
    if changed:
        raise ConfigError(
            f"{stored}: this run was started with other settings in {', '.join(changed)}; resume "
            f"it with --config {stored}, or start a new run with another output"
        )


def _what_counts(config: RunConfig) -> dict[str, Any]:
    """The settings that may not change, by dotted name. Of the judge it is those that its verdicts
    depend on: where and how patiently it is asked may change."""
    settings = config.model_dump()
    if config.judge is not None:
        served = config.judge.serve and config.judge.serve.model
        settings["judge"] = [served, *(settings["judge"][name] for name in IDENTITY)]
    return {
        name: value
        for name, value in _flat(settings)
        if not any(f"{name}.".startswith(f"{free}.") for free in MAY_CHANGE_ON_RESUME)
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


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
    engine.load_weights(policy.weights(), version=0)
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
    inputs: Inputs,
    folder: RunFolder,
    before: HeldOutScores | None,
    after: HeldOutScores | None,
    console: Console,
) -> None:
    draw_curves(folder.metrics, inputs.score.aspects, folder.curves, title=folder.path.name)
    if before is not None and after is not None:
        comparisons = compare(before, after, config.seed)
        write_json(folder.held_out, comparisons_json(comparisons))
        console.print(render_table(comparisons))
    console.print(f"model   {folder.model}\ncurves  {folder.curves}\nmetrics {folder.metrics}")
