"""All rewards of a run, together: samples in, the reward matrix out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import asked, place_of
from rvpo.config.rewards import (
    ClassifierRewardConfig,
    ComparisonRewardConfig,
    FunctionRewardConfig,
    RewardConfig,
    RubricRewardConfig,
    classifier_of,
)
from rvpo.criterion import Criterion
from rvpo.errors import ConfigError, DataError
from rvpo.judge.template import JudgeTemplate
from rvpo.rewards.arguments import column_names
from rvpo.rewards.classifier import ClassifierReward
from rvpo.rewards.comparison import ComparisonReward, Opponent
from rvpo.rewards.judging import AskedJudge, Notice, Selection
from rvpo.rewards.made import made, makes
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.scoring import AnyReward, Scoring
from rvpo.rewards.spare import Sparing
from rvpo.rewards.trainer_state import NO_TRAINING, Training
from rvpo.rubrics.report import unclear_told
from rvpo.rubrics.settling import RubricCounts
from rvpo.runtime.event_loop import EventLoop
from rvpo.runtime.ignore import ignore
from rvpo.runtime.imports import import_function
from rvpo.types import Prompt, Rollout, RolloutScores


@dataclass(frozen=True)
class RewardSuite:
    """Scores whole rollouts.

    Args:
        rewards: one or more, with distinct names; their columns come in this order.
        judges: those that rewards name, by their names.
        notice: hears of it while a step waits long for its answers.
        loop: runs the async functions, in all steps of the run.
        say: hears what the judge's endpoints do that was not asked of them.
        sparing: memory of the criteria that tell no samples apart; None asks all samples.
        training: the run, of which functions are told.
        episodes_lost: share of the episodes that may have no score.

    Raises:
        ConfigError: there is no reward, or two have the same name.
    """

    rewards: Sequence[AnyReward]
    judges: Mapping[str, AskedJudge] = field(default_factory=dict)
    notice: Notice = ignore
    loop: EventLoop = field(default_factory=EventLoop, repr=False, compare=False)
    say: Notice = ignore
    sparing: Sparing | None = field(default=None, repr=False, compare=False)
    training: Training = NO_TRAINING
    episodes_lost: float = 1.0

    def __post_init__(self) -> None:
        names = [reward.name for reward in self.rewards]
        if not names:
            raise ConfigError("rewards: there is none; give at least one")
        if len(set(names)) != len(names):
            raise ConfigError(f"rewards: names must differ, got {', '.join(names)}")

    @classmethod
    def from_config(
        cls, rewards: Mapping[str, RewardConfig], judges: Collection[str] = ()
    ) -> RewardSuite:
        """Import every function that the settings name.

        Args:
            judges: names of those that the settings describe.

        Raises:
            ConfigError: a path does not import, a function does not take the arguments, or a
                classifier is not what the settings say.
        """
        return cls([_build(name, rewards, judges) for name in rewards])

    def fitted(self, prompts: Sequence[Prompt], *, in_world: bool = False) -> RewardSuite:
        """The suite with columns for the criteria that these prompts bring.

        Args:
            in_world: an environment answers the policy.

        Raises:
            RewardError: some reward needs a column that the prompts do not have.
            DataError: a prompt's criteria cannot be read, or there are none.
        """
        columns = column_names(prompts)
        for reward in self.rewards:
            if isinstance(reward, Reward):
                reward.check_columns(columns, in_world)
        return replace(
            self,
            rewards=[r if isinstance(r, Reward) else r.fitted(prompts) for r in self.rewards],
        )

    def check_criteria(self, prompts: Sequence[Prompt], where: str, say: Notice = ignore) -> None:
        """Read what every prompt brings for the judge.

        Args:
            prompts: those of a source, in the order of their rows.
            where: the setting and the file that they are from, for messages.
            say: told what was unclear about the criteria.

        Raises:
            DataError: the criteria of a row cannot be read, or it lacks a reference answer.
        """
        every = [reward for reward in self.rewards if isinstance(reward, RubricReward)]
        rubrics = [reward for reward in every if not reward.fixed or reward.reference]
        if not rubrics:
            return
        unclear = {reward.name: RubricCounts() for reward in rubrics if not reward.fixed}
        for row, prompt in enumerate(prompts):
            for reward in rubrics:
                try:
                    reward.checked(prompt)
                except DataError as error:
                    raise DataError(f"{where}: row {row}, {error}") from error
                if reward.name in unclear:
                    unclear[reward.name].add(reward.brought(prompt).counts)
        for reward in rubrics:
            if text := unclear_told(unclear.get(reward.name, RubricCounts()), reward.doubtful):
                say(f"{where}: rewards.{reward.name}: {text}")

    def check_templates(
        self, judges: Mapping[str, JudgeConfig], others: Collection[str] = ()
    ) -> None:
        """Read the templates of judges, and see that they show what rewards want to be shown.

        Args:
            judges: those that there are, by name.
            others: names of those that are asked the same in place of the ones that rewards name.

        Raises:
            ConfigError: a template cannot be read, is wrong in itself, or does not fit a reward.
        """
        for name, judge in judges.items():
            template = JudgeTemplate.of(judge, place_of(name))
            if template is None:
                continue
            for reward in self.rewards:
                if isinstance(reward, RubricReward) and name in (reward.judge, *others):
                    reward.check_template(template)

    def judged_by(
        self, judges: Mapping[str, AskedJudge], notice: Notice = ignore, say: Notice = ignore
    ) -> RewardSuite:
        """The suite with judges; see the arguments of the class."""
        return replace(self, judges=judges, notice=notice, say=say)

    def asking(self, judge: str) -> RewardSuite:
        """The suite with one judge in place of those that rewards name."""
        rewards = [r if isinstance(r, Reward) else r.asking(judge) for r in self.rewards]
        return replace(self, rewards=rewards)

    def watched_by(self, judge: str) -> RewardSuite:
        """The rewards that another judge gives and this one could: a score for each verdict, of
        which no training depends.

        Raises:
            ConfigError: there is none.
        """
        judged = [r for r in self.rewards if not isinstance(r, Reward) and r.judge != judge]
        found = [reward.apart() for reward in judged if reward.asking(judge).judge == judge]
        return replace(self, rewards=found)

    @property
    def is_judged(self) -> bool:
        """True where any reward needs a judge."""
        return bool(self.asked_judges)

    def remembering(self, seed: int, lag: int) -> RewardSuite:
        """The suite with a memory of settled criteria, if any reward wants one; see `Sparing`."""
        rubrics = [reward for reward in self.rewards if isinstance(reward, RubricReward)]
        spares = {reward.name: reward.spare for reward in rubrics if reward.spare is not None}
        return replace(self, sparing=Sparing(spares, seed, lag) if spares else None)

    @property
    def compares(self) -> bool:
        """True where any reward compares samples."""
        return any(isinstance(reward, ComparisonReward) for reward in self.rewards)

    @property
    def asked_judges(self) -> tuple[str, ...]:
        """Names of the judges that rewards ask."""
        judged = [reward for reward in self.rewards if not isinstance(reward, Reward)]
        return tuple(dict.fromkeys(reward.judge for reward in judged))

    @property
    def half_lives(self) -> dict[str, float]:
        """Steps in which what is known of a reward's reliability fades to a half, by the names of
        the rewards whose verdicts are asked for again."""
        judged = [reward for reward in self.rewards if not isinstance(reward, Reward)]
        asked = {r.name: self.judges[r.judge] for r in judged if r.judge in self.judges}
        return {
            name: judge.repeat.half_life
            for name, judge in asked.items()
            if judge.repeat is not None
        }

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names that reports show: each reward, and the parts of rubrics."""
        return tuple(aspect for reward in self.rewards for aspect in reward.aspects)

    def begin(
        self,
        progress: float = 0.0,
        seed: int | None = None,
        *,
        group_size: int | None = None,
        opponent: Opponent | None = None,
        step: int | None = None,
        updates: int = 0,
    ) -> Scoring:
        """Start scoring a rollout.

        Args:
            progress: share of training done, for weights that change.
            seed: chooses the verdicts that are asked for again; none if left out.
            group_size: G, with which samples are compared as soon as a group is whole; left out,
                they are when the rollout is.
            opponent: samples are compared with these, and not with their siblings.
            step: number of a training step, in which settled criteria are asked of a few samples;
                left out, all samples are asked about everything.
            updates: optimizer steps done, of which functions are told.
        """
        return Scoring(
            self.rewards,
            self.judges,
            progress,
            self.notice,
            self.loop,
            self.say,
            seed,
            Selection(
                group_size=group_size,
                opponent=opponent,
                spared=self.sparing.at(step) if self.sparing and step is not None else None,
            ),
            self.training.at(updates),
            self.episodes_lost,
        )

    def in_run(
        self, steps: int, prompts_per_step: int, prompts: float, is_main: bool
    ) -> RewardSuite:
        """The suite in a run, of which its functions are told.

        Args:
            prompts: visits of an epoch; 0 where that is not known.
            is_main: True on the process that writes files.
        """
        epochs = prompts_per_step / prompts if prompts else 0.0
        return replace(
            self, training=Training(steps=steps, epochs_per_step=epochs, is_main=is_main)
        )

    def close(self) -> None:
        """End what async functions left running."""
        self.loop.close()

    def __call__(self, rollout: Rollout) -> RolloutScores:
        """The [N, M] rewards of a finished rollout, with the weights of the first step; see
        `Scoring.collect`."""
        return self.begin().collect(rollout)


def _build(name: str, rewards: Mapping[str, RewardConfig], judges: Collection[str]) -> AnyReward:
    match reward := rewards[name]:
        case ClassifierRewardConfig():
            return ClassifierReward.from_config(name, reward, classifier_of(name, rewards))
        case FunctionRewardConfig():
            return _function(name, reward)
        case RubricRewardConfig():
            return RubricReward(
                name=name,
                form=reward.rubric,
                weight=reward.weight,
                condition=reward.only_if,
                satisfied=reward.satisfied,
                fixed={n: Criterion.from_row(c.model_dump()) for n, c in reward.criteria.items()},
                column=reward.column,
                doubtful=reward.doubtful,
                weighing=reward.weights or ("class" if reward.rubric == "explicit" else "uniform"),
                judge=asked(reward.judge, judges),
                sees=reward.sees,
                reference=reward.reference or "",
                scale=reward.scale,
                expected=reward.grade == "probability",
                spare=reward.spare,
            )
        case ComparisonRewardConfig():
            return ComparisonReward(
                name=name,
                question=reward.compare,
                pairs=reward.pairs,
                weight=reward.weight,
                condition=reward.only_if,
                satisfied=reward.satisfied,
                judge=asked(reward.judge, judges),
                sees=reward.sees,
            )


def _function(name: str, reward: FunctionRewardConfig) -> Reward:
    """A reward of Python, made by what the settings name, or that itself."""
    where = f"rewards.{name}"
    function = import_function(reward.function, f"{where}.function")
    is_made = makes(function, f"{where}.function")
    return Reward(
        name=name,
        function=made(function, reward.arguments, where) if is_made else function,
        weight=reward.weight,
        arguments={} if is_made else reward.arguments,
        condition=reward.only_if,
        satisfied=reward.satisfied,
        shown=reward.sees,
        made_with=reward.arguments if is_made else {},
    )
