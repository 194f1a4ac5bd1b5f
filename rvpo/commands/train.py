"""`rvpo train`, composed: the inputs, the parts of the loop, the loop, the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import datetime

from rich.console import Console

from rvpo.commands.assemble import (
    benchmarks_of,
    held_out_of,
    keeper_of,
    order_of,
    refill_of,
    report_of,
    rules_of,
    sampler_of,
    stream_of,
)
from rvpo.commands.conclude import conclude
from rvpo.commands.context import RunContext
from rvpo.commands.engine import (
    build_engine,
    check_adapted,
    check_engine,
    check_running,
)
from rvpo.commands.farewell import farewell
from rvpo.commands.inputs import Inputs, read_inputs
from rvpo.commands.passed_on import passed_on
from rvpo.commands.rehearse import rehearse
from rvpo.config.precisions import precisions
from rvpo.config.run import RunConfig, dump_config
from rvpo.errors import CheckpointError, ConfigError, RankError, SpentError
from rvpo.evaluate.during import DuringTraining
from rvpo.report.display import Display
from rvpo.report.provenance import provenance
from rvpo.report.run_folder import RunFolder, write_text
from rvpo.rewards.reliability import Reliabilities
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.engine_in_turn import EngineInTurn
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.runtime.agree import check_folder, check_same, check_share, digest
from rvpo.runtime.console import PlainConsole
from rvpo.runtime.interrupt import Interrupt
from rvpo.runtime.precision import slow_precision
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.turns import Turns
from rvpo.trainer.carried import Carried
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.deepspeed_check import check_deepspeed
from rvpo.trainer.dollars import Dollars, last_judged
from rvpo.trainer.endings import Endings, EndRules
from rvpo.trainer.evaluation import Evaluations, HeldOut
from rvpo.trainer.keep import Keeper
from rvpo.trainer.kernels import check_kernels
from rvpo.trainer.loop import train
from rvpo.trainer.optimizers.check import check_optimizer, prepare_optimizer
from rvpo.trainer.resume import open_run, rewind
from rvpo.trainer.start import Start, add_start, check_inputs
from rvpo.trainer.stream import Sampler
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
            display.phase("reading model, prompts and rewards")
            with ranks.together():
                check_share(config.rollout.prompts_per_step, ranks)
            check_folder(config.output, ranks)
            resume = ranks.first(resume)  # a disk may show other ranks less
            with ranks.together():
                folder, starts = open_run(config) if resume else (_free_folder(config), None)
            context = RunContext(config=config, folder=folder, ranks=ranks, display=display)
            _run(context, starts, console)
    except KeyboardInterrupt:
        display.close()
        display.say(farewell(config.output))
        raise
    finally:
        display.close()
        ranks.leave()


def _run(run: RunContext, starts: Sequence[Start] | None, console: Console) -> None:
    """Compose the run.

    Args:
        starts: those of the run that goes on, as far as they are known; None for a new run.
    """
    config, folder, ranks, display = run.config, run.folder, run.ranks, run.display
    now = ranks.first(datetime.now())
    with ExitStack() as stack:
        inputs = _checked_inputs(run, starts[0].date if starts else now)
        stack.callback(inputs.close)
        ends = rules_of(run, inputs)
        check_same({"settings": digest(dump_config(config)), **inputs.digests}, ranks)
        if starts is not None:
            beside = config.model.lora is not None
            check_inputs(folder.path, starts, inputs.digests, display.say, beside_model=beside)
        rehearse(run, inputs)
        prepare_optimizer(config.update, ranks, display.say)
        if inputs.judges:
            run.phase("starting the judge")
            with ranks.together():  # on its way up while everything else starts, or before it
                inputs.judges.start()
        run.phase("sharding the model with DeepSpeed ZeRO-3")
        offloads = config.offloads(on_gpu=ranks.device.type == "cuda")
        policy = ZeroPolicy(config, inputs.model_path, ranks, display.say, offloads=offloads)
        run.phase(config.rollout.engine.opening())
        engine = _engine(run, inputs)
        stack.callback(engine.close)
        episodes = _episodes(run, inputs, engine)
        stack.callback(episodes.close)
        if inputs.judges:
            run.phase("waiting for the judge")
            inputs.judges.connect()
        reliabilities = Reliabilities(inputs.score.half_lives)
        order = order_of(run, inputs)
        carried: list[Carried] = [reliabilities, order]
        if inputs.score.sparing is not None:
            carried.append(inputs.score.sparing)
        keep = keeper_of(run, inputs, policy, carried)
        start = _enter(run, starts is not None, keep.checkpoints, policy, stack)
        if ranks.is_main:
            rewind(folder, start, display.say)
            add_start(folder, Start(date=now, step=start, inputs=dict(inputs.digests)))
        turns = Turns()
        held_out = held_out_of(run, inputs, EngineInTurn(episodes, turns))
        # A run that its rule has ended ends again, as one that has done its steps does.
        steps = range(start, start if ends(start) else config.steps)
        sampler = sampler_of(run, inputs, episodes, order, steps)
        scoring = held_out, benchmarks_of(run, inputs, EngineInTurn(engine, turns))
        last = _loop(run, inputs, policy, sampler, turns, reliabilities, keep, scoring, ends)
        run.phase("saving the model")
        try:
            keep.export(folder.model)
        except (CheckpointError, RankError):  # curves and table are not lost with the model
            display.close()
            conclude(run, inputs, held_out, last, console)
            ranks.wait()  # a rank that ended now would end the one that draws
            raise
    conclude(run, inputs, held_out, last, console)
    console.print(f"model   {folder.model}", markup=False, highlight=False)


def _checked_inputs(run: RunContext, date: datetime) -> Inputs:
    """The inputs of a run that can be begun, as far as is known before a model is loaded.

    Args:
        date: the day of chat templates.
    """
    config, ranks, say = run.config, run.ranks, run.display.say
    on_gpu = ranks.device.type == "cuda"
    with ranks.together():
        check_engine(config.rollout, ranks, config.model)
        check_deepspeed(config, ranks.size, on_gpu=on_gpu)
        check_optimizer(config.update)
        check_kernels(config.update, on_gpu=on_gpu)
        for line in passed_on(config.rollout, ranks, config.update.deepspeed):
            say(line)
        for line in slow_precision(precisions(config.model, config.every_judge), on_gpu=on_gpu):
            say(line)
        inputs = read_inputs(config, date, run.display, ranks)
        check_adapted(config.model, config.rollout, inputs.model_path)
        adapter = config.model.sent_adapter
        check_running(config.rollout, inputs.model_path, inputs.encoder, ranks, say, adapter)
    return inputs


def _engine(run: RunContext, inputs: Inputs) -> RolloutEngine:
    config = run.config
    return build_engine(
        config.model,
        config.rollout,
        inputs.model_path,
        inputs.encoder,
        config.seed,
        run.ranks,
        output=config.output,
        patience_minutes=config.distributed.patience_minutes,
        say=run.display.say,
        adapter=config.model.sent_adapter,
    )


def _episodes(run: RunContext, inputs: Inputs, engine: RolloutEngine) -> RolloutEngine:
    """The engine whose samples a run learns from: whole episodes, where a world answers."""
    config = run.config
    if inputs.environment is None or config.environment is None:
        return engine
    return EpisodeEngine(
        engine,
        inputs.environment,
        config.environment,
        inputs.encoder,
        config.rollout.sampling,
        run.display.say,
    )


def _loop(
    run: RunContext,
    inputs: Inputs,
    policy: ZeroPolicy,
    sampler: Sampler,
    turns: Turns,
    reliabilities: Reliabilities,
    keep: Keeper,
    scoring: tuple[HeldOut, DuringTraining],
    ends: EndRules,
) -> int:
    """Train; the number of steps done in the end."""
    ranks, display = run.ranks, run.display
    engine, steps = sampler.engine, sampler.steps
    held_out, evaluate = scoring[0], Evaluations(*scoring)
    with ExitStack() as stack:
        report = stack.enter_context(closing(report_of(run)))
        dollars = Dollars(inputs.judges, inputs.score.asked_judges, ranks)
        with ranks.together():  # what a run that goes on has paid for its last step
            before = last_judged(run.folder.read_metrics()) if ranks.is_main else {}
        if steps and (over := dollars.over(steps.start, before)):
            raise SpentError(over)
        if steps.start == 0 and (inputs.prompts.held_out or inputs.benchmarks):
            engine.load_weights(policy.weights(), version=0)
            scores, lost = evaluate(0), held_out.lost(0)
            keep.check(scores, lost)
            ends.check(scores, lost)
        else:
            if not evaluate.lacks(0):  # another metric may be named than at first
                keep.check(evaluate(0), {})
                ends.early.check(evaluate(0), {})
            ends.gold.tell()
            if evaluate.lacks(steps.start):  # no money for it, or its judge was down
                engine.load_weights(policy.weights(), version=steps.start)
                keep.late(steps.start, evaluate(steps.start))
        stream = stack.enter_context(closing(stream_of(run, sampler, turns)))
        interrupt = Interrupt(ranks, display.say)
        stack.enter_context(interrupt.listening())
        ending = Endings(steps.stop, interrupt, ends, dollars)
        try:
            return train(
                steps,
                stream=stream,
                refill=refill_of(run, sampler, turns),
                weigh=reliabilities,
                estimate=run.config.advantage,
                policy=policy,
                report=report,
                keep=keep,
                evaluate=ending.paying(evaluate),
                ending=ending,
                ranks=ranks,
            )
        except SpentError:
            if policy.step > steps.start:  # no step that is done is lost with the one that is not
                keep.save(policy.step, policy)
            raise


def _free_folder(config: RunConfig) -> RunFolder:
    folder = RunFolder(config.output)
    folder.require_free()
    return folder


def _enter(
    run: RunContext,
    resume: bool,
    checkpoints: Checkpoints,
    policy: ZeroPolicy,
    stack: ExitStack,
) -> int:
    """Make the folder or take it over, and keep others out of it as long as the stack lasts.

    Only when everything else is up: what fails before leaves no trace in the folder.

    Returns:
        Steps done.
    """
    config = run.config
    with run.ranks.together():
        if run.ranks.is_main:
            stack.enter_context(run.folder.locked(run.display.say))
            if resume:
                write_text(run.folder.config, dump_config(config))
            else:
                RunFolder.create(config.output, dump_config(config), provenance())
    checkpoints.check_space(policy)
    start = checkpoints.restore(policy) if resume else 0
    if start > config.steps:
        raise ConfigError(f"steps: {config.steps} are fewer than the {start} already done")
    return start
