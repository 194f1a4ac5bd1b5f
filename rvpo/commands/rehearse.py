"""The rehearsal of a run: what would fail after the first step, or at the end, fails before it."""

from __future__ import annotations

from rvpo.commands.context import RunContext
from rvpo.commands.inputs import Inputs
from rvpo.config.judges import place_of, weighed
from rvpo.rewards.classifier import ClassifierReward
from rvpo.trainer.adapters import rehearse_adapters
from rvpo.trainer.rehearsal import (
    rehearse_classifier,
    rehearse_judge,
    rehearse_rewards,
    rehearse_saving,
    rehearse_trackers,
)


def rehearse(run: RunContext, inputs: Inputs) -> None:
    """Try trackers, saving, rewards and the judge once, on the main rank; all ranks fail alike.

    Raises:
        RvpoError: of whichever fails first; a RankError on the other ranks.
    """
    run.phase("rehearsing rewards and saving")
    with run.ranks.together():
        if run.ranks.is_main:
            _rehearse(run, inputs)


def _rehearse(run: RunContext, inputs: Inputs) -> None:
    config, say = run.config, run.display.say
    rehearse_trackers(config)
    rehearse_saving(inputs.model_path, inputs.encoder, config.model.trust_remote_code, say)
    if config.model.lora is not None:
        trusted = config.model.trust_remote_code
        rehearse_adapters(inputs.model_path, config.model.lora, trust_remote_code=trusted)
    for prompts in filter(None, (inputs.prompts.train, inputs.prompts.held_out)):
        rehearse_rewards(config, inputs.score, prompts, inputs.encoder)
    counted_on = weighed(config.rewards, config.every_judge, config.evaluate.others)
    for name, judge in inputs.judges.items():
        if judge.is_spent:
            continue
        named = f"the judge {place_of(name)}" if len(inputs.judges) > 1 else "the judge"
        run.phase(f"asking {named} a first question")
        scored = [r for r in inputs.score.rewards if isinstance(r, ClassifierReward)]
        asked = [reward for reward in scored if reward.judge == name]
        usage = (
            rehearse_classifier(judge.config, asked, say, place_of(name))
            if asked
            else rehearse_judge(judge.config, say, place_of(name), weighed=name in counted_on)
        )
        judge.counted.count(usage)
        judge.owe(0.0 if usage is None else usage.cost)
