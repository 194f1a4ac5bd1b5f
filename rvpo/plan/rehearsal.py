"""The rehearsal of a run, as findings."""

from __future__ import annotations

from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.data.visits import epoch_size
from rvpo.errors import RewardError, RvpoError
from rvpo.model_files import resolve_model
from rvpo.plan.data import Data
from rvpo.plan.machine import Finding
from rvpo.rewards.suite import RewardSuite
from rvpo.trainer.rehearsal import rehearse_rewards, rehearse_saving, rehearse_trackers


def rehearsal_findings(config: RunConfig, data: Data) -> list[Finding]:
    """Rewards called and settings saved once; what cannot be read at all is told elsewhere."""
    trusted = config.model.trust_remote_code
    try:
        path = resolve_model(config.model.path)
        encoder = encoder_of(config.model, config.rollout, path)
        suite = RewardSuite.from_config(config.rewards, config.every_judge)
        if data.train:
            suite = suite.fitted(data.prompts.every, in_world=config.environment is not None)
        per_step = config.rollout.sampled_prompts
        suite = suite.in_run(config.steps, per_step, epoch_size(data.train), is_main=True)
    except RvpoError:
        return []
    said: list[str] = []
    try:
        rehearse_trackers(config)
        rehearse_saving(path, encoder, trusted, said.append)
        if data.train:
            for prompts in filter(None, (data.train, data.held_out)):
                rehearse_rewards(config, suite, prompts, encoder)
    except RvpoError as error:
        return [Finding(_part(error), "missing", str(error))]
    notes = [Finding("model", "note", text.removeprefix("model.path: ")) for text in said]
    found = "every reward function was called on invented answers; the model can be saved"
    return [*notes, Finding("rehearsal", "ok", found)]


def _part(error: RvpoError) -> str:
    if isinstance(error, RewardError):
        return "rewards"
    return "trackers" if str(error).startswith("report.trackers") else "model"
