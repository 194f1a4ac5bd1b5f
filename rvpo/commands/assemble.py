"""The parts of the training loop, each made from the settings of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rvpo.commands.context import RunContext
from rvpo.commands.inputs import Inputs
from rvpo.config.levels import good_enough
from rvpo.config.order import DifficultyOrder, PlainOrder
from rvpo.config.sample_files import SampleFilesConfig
from rvpo.data.difficulty import ByDifficulty
from rvpo.data.order import PromptOrder, PromptStream
from rvpo.data.visits import is_first_epoch, size_of
from rvpo.evaluate.during import DuringTraining
from rvpo.evaluate.kept import kept_metrics
from rvpo.report.at_k import AtK
from rvpo.report.constant import ConstantRewards
from rvpo.report.noise import NoisyRewards
from rvpo.report.record import Report, Reports
from rvpo.report.run_folder import MetricsFile
from rvpo.report.sample_files import Keeping, SampleFiles
from rvpo.report.score_files import ScoreFiles
from rvpo.report.trackers import TrackedRun
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.engine_in_turn import EngineInTurn
from rvpo.runtime.turns import Turns
from rvpo.trainer.carried import Carried
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.early_stop import EarlyStop
from rvpo.trainer.endings import EndRules
from rvpo.trainer.evaluation import HeldOut
from rvpo.trainer.export import export_model
from rvpo.trainer.gold import GoldWatch
from rvpo.trainer.gold_stop import GoldStop, counted_names
from rvpo.trainer.keep import Keeper
from rvpo.trainer.refill import Refill
from rvpo.trainer.stream import Ahead, InTurn, RolloutStream, Sampler
from rvpo.trainer.zero_policy import ZeroPolicy


def order_of(run: RunContext, inputs: Inputs) -> PromptOrder:
    """The order in which training visits prompts."""
    config = run.config
    stream = PromptStream(inputs.prompts.train, config.rollout.sampled_prompts, config.seed)
    match config.data.order:
        case PlainOrder():
            return stream
        case DifficultyOrder(least=least):
            seen = config.steps * stream.per_step
            if is_first_epoch(stream.prompts, seen) and not config.rollout.resample:
                run.display.say(
                    f"data.order: {config.steps} steps see {seen} of {size_of(stream.prompts)} "
                    "prompts and none of them twice, so nothing is known of any before it comes: "
                    "the order is as good as plain"
                )
            return ByDifficulty(stream, least, config.rollout.staleness)


def sampler_of(
    run: RunContext, inputs: Inputs, engine: RolloutEngine, order: PromptOrder, steps: range
) -> Sampler:
    """Maker of the rollouts of the steps."""
    return Sampler(
        prompts=order,
        engine=engine,
        score=inputs.score,
        ranks=run.ranks,
        group_size=run.config.rollout.samples_per_prompt,
        seed=run.config.seed,
        steps=steps,
    )


def stream_of(run: RunContext, sampler: Sampler, turns: Turns) -> RolloutStream:
    """The rollouts of the steps, in turn with training or ahead of it.

    Args:
        turns: those of all who use the engine.
    """
    most, in_flight = run.config.rollout.staleness, run.config.rollout.in_flight
    return Ahead(sampler, turns, most, in_flight=in_flight) if most else InTurn(sampler)


def refill_of(run: RunContext, sampler: Sampler, turns: Turns) -> Refill:
    """The groups that are trained on."""
    rollout = run.config.rollout
    between = replace(sampler, engine=EngineInTurn(sampler.engine, turns))
    return Refill(between, rollout.prompts_per_step, rollout.resample)


def held_out_of(run: RunContext, inputs: Inputs, engine: RolloutEngine) -> HeldOut:
    """The rewards of prompts that are never trained on."""
    judge, gold = run.config.evaluate.judge, run.config.evaluate.gold
    watch = None
    if gold is not None:
        training = inputs.score.watched_by(gold.judge)
        watch = GoldWatch(training, gold.judge, gold.every, run.folder, run.ranks, run.display.say)
    return HeldOut(
        inputs.prompts.held_out,
        engine,
        inputs.score if judge is None else inputs.score.asking(judge),
        run.ranks,
        run.folder,
        run.config.evaluate,
        last_step=run.config.steps,
        seed=run.config.seed,
        say=run.display.phase,
        tell=run.display.say,
        sampling=run.config.evaluate.sampling(run.config.rollout.sampling),
        at_k=AtK(
            at=run.config.evaluate.at_k,
            joint=tuple(n for n, r in run.config.rewards.items() if r.largest_weight > 0),
            satisfied=good_enough([run.config.rewards]) | run.config.evaluate.satisfied,
        ),
        answers=inputs.answers,
        watch=watch,
    )


def rules_of(run: RunContext, inputs: Inputs) -> EndRules:
    """The rules that may end the run before its last step.

    Raises:
        ConfigError: that of the gold watch names what is no reward that is watched.
    """
    rule, kept = run.config.evaluate.early_stop, partial(kept_metrics, run.folder)
    early = EarlyStop(rule, kept, run.ranks, run.display.say)
    return EndRules(_gold_stop(run, inputs), early)


def _gold_stop(run: RunContext, inputs: Inputs) -> GoldStop:
    gold = run.config.evaluate.gold
    if gold is None:
        return GoldStop(None, (), 0.0, run.folder, run.ranks, run.display.say)
    watched = inputs.score.watched_by(gold.judge)
    return GoldStop(
        gold.stop,
        counted_names(gold.stop, watched.aspects),
        run.config.every_judge[gold.judge].budget.step,
        run.folder,
        run.ranks,
        run.display.say,
    )


def benchmarks_of(run: RunContext, inputs: Inputs, engine: RolloutEngine) -> DuringTraining:
    """The benchmarks, on the engine that samples for training."""
    return DuringTraining(
        inputs.benchmarks,
        engine,
        run.ranks,
        run.folder,
        every=run.config.evaluate.every,
        last_step=run.config.steps,
        seed=run.config.seed,
        say=run.display.phase,
        encoder=inputs.encoder,
    )


def keeper_of(
    run: RunContext, inputs: Inputs, policy: ZeroPolicy, carried: Sequence[Carried]
) -> Keeper:
    """Checkpoints and models, in the folder of the run.

    Args:
        carried: state that checkpoints keep beside the policy.
    """
    folder, ranks, settings = run.folder, run.ranks, run.config.checkpoint
    return Keeper(
        Checkpoints(
            folder.checkpoints,
            every=settings.every,
            keep=settings.keep,
            ranks=ranks,
            carried=carried,
        ),
        lambda path: export_model(policy, inputs.encoder.tokenizer, path, ranks, run.config.model),
        folder,
        ranks,
        settings.models_every,
        settings.best,
    )


def report_of(run: RunContext) -> Report:
    """The readers of every step: files, trackers and the terminal, on the main rank."""
    folder, display, settings = run.folder, run.display, run.config.report
    keeping = _keeping(settings.samples)
    if not run.ranks.is_main:
        return SampleFiles(folder, run.ranks.rank, keeping)
    if keeping.newest is not None:
        others = f", of each {keeping.every}th before them" if keeping.every else ""
        display.say(
            f"report.samples: samples of the newest {keeping.newest} steps{others} and of the "
            f"first stay; those of other steps are removed from {folder.samples} on the way"
        )
    tracked = TrackedRun(
        folder=folder,
        project=settings.project,
        group=settings.group,
        arm=settings.arm,
        config=run.config.model_dump(mode="json"),
        say=display.say,
    )
    return Reports(
        SampleFiles(folder, 0, keeping),
        ScoreFiles(folder, run.config.steps),
        MetricsFile(folder),
        *(tracker.open(tracked) for tracker in settings.trackers),
        display,
        ConstantRewards(display.say),
        NoisyRewards(display.say, run.config.advantage.weight_by_reliability),
    )


def _keeping(settings: SampleFilesConfig) -> Keeping:
    return Keeping(1e6 * settings.gzip_mb, settings.keep, settings.every)
