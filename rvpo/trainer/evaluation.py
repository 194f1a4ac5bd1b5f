"""Scores on prompts that are never trained on, before, during and after training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rvpo.config.held_out import EvaluateConfig
from rvpo.report.at_k import NO_K, AtK
from rvpo.report.held_out import Floats, HeldOutScores
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.rewards.comparison import Opponent
from rvpo.rewards.final_answer import AnswersOf, final_answers
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.sampling import Sampling
from rvpo.schedule import is_due
from rvpo.trainer.first_answers import FirstAnswer, keep_first_answers, read_first_answers
from rvpo.trainer.gold import GoldWatch, each_of
from rvpo.types import Prompt, Rollout, RolloutScores


@dataclass(frozen=True)
class HeldOut:
    """Samples the held-out prompts when it is time, with the engine's newest weights.

    Each evaluation is kept in the run folder, and done once. One that lost all scores of a part
    is made again where the run is resumed at its step. The seed is always the same, so that two
    evaluations differ by the weights alone where the engine honours seeds.

    Args:
        prompts: none turns every evaluation into nothing.
        last_step: the run's; evaluated in any case, as step 0 is.
        seed: the run's.
        say: told what is going on.
        tell: told of episodes without a score.
        sampling: way in which answers are drawn; None for that of training.
        at_k: numbers of success with k answers that are wanted.
        answers: gives what the answers to a prompt say, which are the votes of maj@k.
        watch: looks at the same samples, if there is one.
    """

    prompts: Sequence[Prompt]
    engine: RolloutEngine
    score: RewardSuite
    ranks: Ranks
    folder: RunFolder
    config: EvaluateConfig
    last_step: int
    seed: int
    say: Callable[[str], None]
    tell: Callable[[str], None] = ignore
    sampling: Sampling | None = None
    at_k: AtK = NO_K
    answers: AnswersOf = final_answers
    watch: GoldWatch | None = None

    def __call__(self, step: int) -> dict[str, float]:
        """Evaluate if it is time; the means over prompts, the same on every rank.

        Args:
            step: updates done.
        """
        watch = self._watch(step)
        if not self._is_due(step):
            return {}
        if self._is_done(step):
            looked = {} if watch is None else watch.at(step).metrics()
            return self.at(step).metrics() | looked
        self.say(f"scoring {len(self.prompts)} held-out prompts")
        return self._measure(step, watch)

    def lacks(self, step: int) -> bool:
        """True where there should be an evaluation after `step` updates, and is none. Every rank
        must call."""
        return self._is_due(step) and not self._is_done(step)

    def lost(self, step: int) -> dict[str, str]:
        """Words for what judges and worlds lost, by the metric that the evaluation after `step`
        updates lacks for it; nothing where there is none. Every rank must call."""
        with self.ranks.together():  # a network's disk may show another rank less
            found = self._lost(step) if self.ranks.is_main else {}
        return self.ranks.first(found)

    def at(self, step: int) -> HeldOutScores:
        """The scores after `step` updates."""
        return HeldOutScores.read(self.folder.evaluation(step))

    def _is_due(self, step: int) -> bool:
        due = is_due(step, self.config.every, self.last_step)
        return bool(self.prompts) and (due or self._watch(step) is not None)

    def _is_done(self, step: int) -> bool:
        return self.ranks.first(self._is_kept(step)) and not self.lost(step)

    def _is_kept(self, step: int) -> bool:
        watch = self._watch(step)
        return self.folder.evaluation(step).exists() and (watch is None or watch.knows(step))

    def _lost(self, step: int) -> dict[str, str]:
        if not (self._is_due(step) and self._is_kept(step)):
            return {}
        watch = self._watch(step)
        return self.at(step).lost() | ({} if watch is None else watch.at(step).lost())

    def _watch(self, step: int) -> GoldWatch | None:
        """The watch, if it is its time."""
        if self.watch is None:
            return None
        every = self.watch.every or self.config.every
        return self.watch if is_due(step, every, self.last_step) else None

    def _measure(self, step: int, watch: GoldWatch | None) -> dict[str, float]:
        mine = self.prompts[self.ranks.share(len(self.prompts))]
        opponent = self._opponent(step)
        scoring = self.score.begin(opponent=opponent, updates=step)
        look = None if watch is None else watch.look(opponent)
        rollout = self.engine.generate(
            mine,
            self.config.samples_per_prompt,
            derived_seed(self.seed, "held out", self.ranks.rank),
            on_sample=scoring.take if look is None else each_of(scoring.take, look.take),
            sampling=self.sampling,
        )
        ids = [prompt.id for prompt in self.prompts]
        scored = scoring.collect(rollout, self.ranks)
        self._tell_of_missing(rollout)
        scores = HeldOutScores.of(scored, ids, self._at_k(scored, rollout))
        looked = None if look is None else look.collect(rollout, ids)
        self._keep_first(step, rollout)
        self.ranks.wait()  # nobody writes before all have looked
        if self.ranks.is_main:
            write_json(self.folder.evaluation(step), scores.to_json())
            if looked is not None:
                write_json(self.folder.gold_scores(step), looked.to_json())
        return scores.metrics() | ({} if looked is None else looked.metrics())

    def _tell_of_missing(self, rollout: Rollout) -> None:
        """Say how many episodes of all ranks have no score, and why. Every rank must call."""
        own = [sample.missing for sample in rollout.samples]
        every = [reason for part in self.ranks.gather_objects(own) for reason in part]
        reasons = Counter(filter(None, every))
        if not reasons:
            return
        ((most, _),) = reasons.most_common(1)
        self.tell(
            f"{reasons.total()} of {len(every)} held-out episodes have no score, most often for "
            f"{most}"
        )

    def _at_k(self, scored: RolloutScores, rollout: Rollout) -> Mapping[str, Floats]:
        """[P] each number of success with k answers, by name. Every rank must call."""
        if not self.at_k.at:
            return {}
        with self.ranks.together():  # the function is the user's
            texts = [sample.answer for sample in rollout.samples]
            size = self.config.samples_per_prompt
            groups = [texts[row : row + size] for row in range(0, len(texts), size)]
            own = [answer for group in groups for answer in self.answers(group)]
        every = [answer for part in self.ranks.gather_objects(own) for answer in part]
        return self.at_k.of(scored, every)

    def _keep_first(self, step: int, rollout: Rollout) -> None:
        """Keep the answers that later ones are compared with."""
        if step or not self.score.compares:
            return
        own = [FirstAnswer.of(sample) for sample in rollout.samples]
        every = [each for part in self.ranks.gather_objects(own) for each in part]
        if self.ranks.is_main:
            keep_first_answers(self.folder.first_answers, every)

    def _opponent(self, step: int) -> Opponent | None:
        """The policy's answer before training in a sample's place, to compare it with: the mean is
        its share of wins against its beginning. At first that is the sample itself."""
        if not self.score.compares:
            return None
        if step == 0:
            return lambda _, sample: sample
        places = range(self.config.samples_per_prompt)
        ids = [prompt.id for prompt in self.prompts for _ in places]
        with self.ranks.together():  # a network's disk may show another rank less
            path = self.folder.first_answers
            found = read_first_answers(path, ids) if self.ranks.is_main else None
        every = self.ranks.first(found)
        assert every is not None
        first = self.ranks.share(len(self.prompts)).start * self.config.samples_per_prompt
        return lambda row, _: every[first + row]


class Evaluation(Protocol):
    """Scores of the policy, when it is time for them."""

    def __call__(self, step: int) -> dict[str, float]:
        """Those after so many updates, on every rank; nothing where none are due."""
        ...

    def lacks(self, step: int) -> bool:
        """True where there should be some and are none. Every rank must call."""
        ...


class Evaluations:
    """Several evaluations as one: what each gives is laid together."""

    def __init__(self, *parts: Evaluation) -> None:
        self._parts = parts

    def lacks(self, step: int) -> bool:
        """See `Evaluation.lacks`."""
        return any(part.lacks(step) for part in self._parts)

    def __call__(self, step: int) -> dict[str, float]:
        """The scores of all that are due after so many updates."""
        return {name: value for part in self._parts for name, value in part(step).items()}
