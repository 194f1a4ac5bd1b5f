"""Train by the settings of a run: build its parts, then hand them to the loop."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from rvpo.commands.inputs import Inputs, build_stream, read_inputs
from rvpo.config.run import RunConfig, dump_config
from rvpo.errors import CheckpointError, ConfigError, RewardError, RvpoError
from rvpo.evaluate.benchmark import Benchmark
from rvpo.evaluate.build import judged_by, needs_judge, read_benchmarks
from rvpo.evaluate.during import DuringTraining
from rvpo.evaluate.measure import check_lengths
from rvpo.judge.client.probe import Counted
from rvpo.judge.client.service import JudgeService
from rvpo.judge.types import Usage
from rvpo.report.constant import ConstantRewards
from rvpo.report.curves import draw_curves
from rvpo.report.display import Display
from rvpo.report.held_out import compare, comparisons_json, render_table
from rvpo.report.provenance import provenance
from rvpo.report.record import Report, Reports
from rvpo.report.run_folder import MetricsFile, RunFolder, SampleFiles, write_json, write_text
from rvpo.report.trackers import TrackedRun
from rvpo.rollout.build import build_engine
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.console import PlainConsole
from rvpo.runtime.interrupt import Interrupt
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.evaluation import Evaluations, HeldOut
from rvpo.trainer.export import export_model
from rvpo.trainer.keep import Keeper
from rvpo.trainer.loop import train
from rvpo.trainer.rehearsal import (
    rehearse_judge,
    rehearse_rewards,
    rehearse_saving,
    rehearse_trackers,
)
from rvpo.trainer.resume import open_run, rewind
from rvpo.trainer.start import Start, add_start, check_inputs
from rvpo.trainer.zero_policy import ZeroPolicy


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
    console = PlainConsole(quiet=not ranks.is_main)
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
    folder, starts = open_run(config) if resume else (_free_folder(config), ())
    now = ranks.gather_objects(datetime.now())[0]
    inputs = read_inputs(config, starts[0].date if starts else now, display.say)
    if resume:
        check_inputs(folder.path, starts, inputs.digests, display.say)
    spent = _rehearse(config, inputs, ranks, display)
    with ExitStack() as stack:
        stack.callback(inputs.score.close)
        benchmarks = read_benchmarks(config.evaluate.benchmarks, config.judge, display.say)
        for benchmark in benchmarks:
            check_lengths(benchmark, inputs.encoder)
        judge = _start_judge(config, inputs, spent, ranks, stack)
        display.phase("sharding the model with DeepSpeed ZeRO-3")
        policy = ZeroPolicy(config, inputs.model_path, ranks, display.say)
        display.phase(f"starting {config.rollout.engine.name}")
        engine = build_engine(
            config.model, config.rollout, inputs.model_path, inputs.encoder, config.seed, ranks
        )
        stack.callback(engine.close)
        inputs, benchmarks = _connect_judge(config, inputs, benchmarks, judge, ranks, display)
        # Only now: what fails before leaves no trace in the folder.
        if ranks.is_main:
            _prepare_folder(config, resume, stack)
        ranks.wait()
        keep = _keeper(config, inputs, policy, folder, ranks)
        keep.checkpoints.check_space(policy)
        start = keep.checkpoints.restore(policy) if resume else 0
        if start > config.steps:
            raise ConfigError(f"steps: {config.steps} are fewer than the {start} already done")
        if ranks.is_main:
            rewind(folder, start, display.say)
            add_start(folder, Start(date=now, step=start, inputs=dict(inputs.digests)))
        report = _build_report(config, folder, ranks, display)
        stack.callback(report.close)
        held_out = _held_out(config, inputs, engine, ranks, folder, display)
        evaluations = Evaluations(
            held_out, _during(config, benchmarks, engine, ranks, folder, display)
        )
        if start == 0 and (inputs.held_out or benchmarks):
            engine.load_weights(policy.weights(), version=0)
            keep.check(evaluations(0))
        steps = range(start, config.steps)
        stream = stack.enter_context(closing(build_stream(config, inputs, engine, ranks, steps)))
        with (interrupt := Interrupt(ranks, display.say)).listening():
            parts = (report, keep, evaluations, interrupt, ranks)
            train(stream, config.advantage, policy, *parts, steps)
        display.phase("saving the model")
        try:
            keep.export(folder.model)
        except CheckpointError:  # curves and table are not lost with the model
            display.close()
            if ranks.is_main:
                _conclude(config, inputs, folder, held_out, console)
            raise
    if ranks.is_main:
        _conclude(config, inputs, folder, held_out, console)
        console.print(f"model   {folder.model}", markup=False, highlight=False)


def _free_folder(config: RunConfig) -> RunFolder:
    folder = RunFolder(config.output)
    folder.require_free()
    return folder


def _rehearse(config: RunConfig, inputs: Inputs, ranks: Ranks, display: Display) -> Usage | None:
    """Fail here, on every rank alike, where the run would fail after the first step or at its end.

    Returns:
        The judge's usage, on the rank that asked.
    """
    display.phase("rehearsing rewards and saving")
    spent: Usage | None = None
    path, trusted = inputs.model_path, config.model.trust_remote_code
    failed: RvpoError | None = None
    if ranks.is_main:
        try:
            rehearse_trackers(config)
            rehearse_saving(path, inputs.encoder, trusted, display.say)
            for prompts in filter(None, (inputs.train, inputs.held_out)):
                rehearse_rewards(config, inputs.score, prompts, inputs.encoder)
            if config.judge is not None and _is_judged(config, inputs):
                display.phase("asking the judge a first question")
                spent = rehearse_judge(config.judge, display.say)
        except RvpoError as error:
            failed = error
    if any(ranks.gather_objects(failed is not None)):
        raise failed or RewardError("the rehearsal failed on the main rank, which says why")
    return spent


def _is_judged(config: RunConfig, inputs: Inputs) -> bool:
    return inputs.score.is_judged or needs_judge(config.evaluate.benchmarks)


def _start_judge(
    config: RunConfig, inputs: Inputs, spent: Usage | None, ranks: Ranks, stack: ExitStack
) -> JudgeService | None:
    """A judge, where a reward needs one: on its way up while everything else starts."""
    if config.judge is None or not _is_judged(config, inputs):
        return None
    on_gpu = ranks.device.type == "cuda"
    judge = JudgeService(config.judge, is_main=ranks.is_main, on_gpu=on_gpu, spent=spent)
    stack.callback(judge.close)
    return judge


def _connect_judge(
    config: RunConfig,
    inputs: Inputs,
    benchmarks: tuple[Benchmark, ...],
    judge: JudgeService | None,
    ranks: Ranks,
    display: Display,
) -> tuple[Inputs, tuple[Benchmark, ...]]:
    """The inputs with rewards, and the benchmarks, that can ask the judge."""
    if config.judge is None or judge is None:
        return inputs, benchmarks
    display.phase("waiting for the judge")
    client = judge.connect(ranks.gather_objects)
    score = inputs.score
    if score.is_judged:
        asked = client if judge.spent is None else Counted(client, judge.spent)
        say = display.say_once
        score = score.judged_by(asked, config.judge.budget, display.phase, say)
    return replace(inputs, score=score), judged_by(benchmarks, client)


def _held_out(
    config: RunConfig,
    inputs: Inputs,
    engine: RolloutEngine,
    ranks: Ranks,
    folder: RunFolder,
    display: Display,
) -> HeldOut:
    return HeldOut(
        inputs.held_out,
        engine,
        inputs.score,
        ranks,
        folder,
        config.evaluate,
        last_step=config.steps,
        seed=config.seed,
        say=display.phase,
    )


def _keeper(
    config: RunConfig, inputs: Inputs, policy: ZeroPolicy, folder: RunFolder, ranks: Ranks
) -> Keeper:
    settings = config.checkpoint
    return Keeper(
        Checkpoints(folder.checkpoints, every=settings.every, keep=settings.keep, ranks=ranks),
        lambda path: export_model(policy, inputs.encoder.tokenizer, path, ranks),
        folder,
        ranks,
        settings.models_every,
        settings.best,
    )


def _during(
    config: RunConfig,
    benchmarks: tuple[Benchmark, ...],
    engine: RolloutEngine,
    ranks: Ranks,
    folder: RunFolder,
    display: Display,
) -> DuringTraining:
    return DuringTraining(
        benchmarks,
        engine,
        ranks,
        folder,
        every=config.evaluate.every,
        last_step=config.steps,
        seed=config.seed,
        say=display.phase,
    )


def _prepare_folder(config: RunConfig, resume: bool, stack: ExitStack) -> None:
    """Make the folder or take it over, and keep others out of it as long as the stack lasts."""
    folder = RunFolder(config.output)
    stack.enter_context(folder.locked())
    if resume:
        write_text(folder.config, dump_config(config))
    else:
        RunFolder.create(config.output, dump_config(config), provenance())


def _farewell(output: Path) -> str:
    config = output / "config.yaml"
    if not config.exists():
        return "stopped before the first step; nothing was written"
    again = shlex.join(["rvpo", "train", "--config", str(config), "--resume"])
    return f"stopped; go on with: {again}"


def _build_report(config: RunConfig, folder: RunFolder, ranks: Ranks, display: Display) -> Report:
    if not ranks.is_main:
        return SampleFiles(folder, ranks.rank)
    reports: list[Report] = [SampleFiles(folder, 0), MetricsFile(folder)]
    tracked = TrackedRun(
        folder=folder,
        project=config.report.project,
        group=config.report.group,
        arm=config.report.arm,
        config=config.model_dump(mode="json"),
        say=display.say,
    )
    reports += [tracker.open(tracked) for tracker in config.report.trackers]
    return Reports(*reports, display, ConstantRewards(display.say))


def _conclude(
    config: RunConfig,
    inputs: Inputs,
    folder: RunFolder,
    held_out: HeldOut,
    console: Console,
) -> None:
    draw_curves(folder.metrics, inputs.score.aspects, folder.curves, title=folder.path.name)
    lost = [s for s in (0, config.steps) if not folder.evaluation(s).exists()]
    if inputs.held_out and lost:
        named = " and ".join(str(folder.evaluation(step)) for step in lost)
        console.print(
            f"{named} is missing: no table of held-out scores", markup=False, highlight=False
        )
    elif inputs.held_out:
        comparisons = compare(held_out.at(0), held_out.at(config.steps), config.seed)
        write_json(folder.held_out, comparisons_json(comparisons))
        console.print(render_table(comparisons))
    console.print(f"curves  {folder.curves}\nmetrics {folder.metrics}")
