"""Judge completions of a file, or controls, by a configuration. The policy's model is never
loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from rvpo.commands.inputs import judges_of
from rvpo.commands.needs import of_trial
from rvpo.config.filing import told_apart
from rvpo.config.judge import JudgeConfig
from rvpo.config.rewards import ComparisonRewardConfig, RubricRewardConfig
from rvpo.config.run import RunConfig
from rvpo.data.packed import Joined
from rvpo.data.sources import load_prompts
from rvpo.errors import ConfigError, nearest
from rvpo.judge.client.judges import Judges
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.extras import require
from rvpo.runtime.ranks import Ranks
from rvpo.trial.against import agreement_rows, to_json
from rvpo.trial.against_display import show_agreement, show_costs
from rvpo.trial.cost import JudgeCost, asked_of_a_sample, run_cost
from rvpo.trial.display import show_failures, show_judgement, show_summary
from rvpo.trial.given import read_responses
from rvpo.trial.judgement import Judgement, answers_by
from rvpo.trial.page import Page
from rvpo.trial.response import controls, first_prompts
from rvpo.trial.summary import TrialSummary
from rvpo.trial.together import show_ways
from rvpo.trial.trial import Trial

FEW_PROMPTS = 5
"""Prompts of the data that are taken where there is no file of completions."""
PATIENCE = 1.5
"""Longest time for a verdict, in timeouts: for one that runs out and another attempt. Who waits for
a trial wants to hear of a dead judge sooner than a run that has to outlive its pauses."""


def prepare(
    config: RunConfig,
    samples: Path | None,
    prompts: int | None,
    repeats: int,
    judge: str | None = None,
) -> Trial:
    """Read what is to be judged.

    Args:
        samples: file of completions; without one, controls are made for prompts of the data, held
            out if there are any.
        prompts: judge the responses to the first so many prompts; without it, all of `samples`, or
            a few of the data.
        judge: name of the one that is asked, in place of those that rewards name.

    Raises:
        ConfigError: no reward has a rubric, or there is no such judge.
        DataError: the completions or the data cannot be read, or have no criteria.
    """
    chosen = {n: r for n, r in config.rewards.items() if isinstance(r, RubricRewardConfig)}
    compared = compared_rewards(config)
    if not chosen and compared:
        raise ConfigError(
            f"rewards: {', '.join(compared)} compares samples of one prompt with one another, and "
            "`rvpo judge` tries criteria; add a reward with a rubric, as in "
            "rewards={polite: {rubric: channels, criteria: {polite: The response is polite.}}}"
        )
    if not chosen:
        raise ConfigError(
            f"rewards: none of {', '.join(config.rewards)} asks a judge; add one, as in "
            "rewards={polite: {rubric: channels, criteria: {polite: The response is polite.}}}"
        )
    suite = RewardSuite.from_config(chosen, config.every_judge)
    if judge is not None:
        suite = suite.asking(known_judge(judge, config))
    rewards = [r for r in suite.rewards if isinstance(r, RubricReward)]
    if samples is not None:
        responses = read_responses(samples, rewards, config.data, config.model.markers)
        responses = responses if prompts is None else first_prompts(responses, prompts)
    else:
        data = config.data
        sources = data.held_out_sources or data.train_sources
        known = Joined(
            tuple(
                load_prompts(source, data.system_prompt, where) for where, source in sources.items()
            )
        )
        asked = [prompt for prompt in known if every_question(rewards, prompt)]
        responses = controls(asked or known, prompts or FEW_PROMPTS)
    every = [response.prompt for response in responses]
    return Trial(
        rewards=tuple(reward.fitted(every) for reward in rewards),
        responses=responses,
        repeats=repeats,
    )


def compared_rewards(config: RunConfig) -> list[str]:
    """Names of the rewards that compare samples, which a trial leaves out."""
    return [n for n, r in config.rewards.items() if isinstance(r, ComparisonRewardConfig)]


def try_rubrics(
    config: RunConfig,
    samples: Path | None,
    prompts: int | None,
    repeats: int,
    json_file: Path | None,
    console: Console,
    judge: str | None = None,
    against: str | None = None,
) -> int:
    """Judge completions by the rubrics of a run, and print what comes of it.

    Args:
        samples, prompts, repeats, judge: see `prepare`.
        json_file: takes a JSON line for each response, and one for the summary.
        against: name of a judge that is asked the same, to see how far the two agree.

    Returns:
        Verdicts that failed.

    Raises:
        ConfigError: no reward has a rubric, a judge is not there or cannot be set up, or
            `json_file` cannot be written.
        DataError: the completions or the data cannot be read.
        EngineError: a served judge does not come up.
        RewardError: the judge's worker does not start, or cannot be reached.
    """
    if json_file is not None and samples is not None and json_file.resolve() == samples.resolve():
        raise ConfigError(f"--json: {json_file} holds the --samples; give another file")
    require("rvpo judge", *of_trial(config, judge, against))
    page, ranks = Page(console), Ranks.alone()
    with page.phase("reading what is to be judged"):
        trial = prepare(config, samples, prompts, repeats, judge)
        known = None if against is None else known_judge(against, config, "--against")
        other = None if known is None else trial.held_against(known)
    _tell_left_out(config, page)
    trials = [trial] if other is None else [trial, other]
    for each in trials:
        RewardSuite(each.rewards).check_templates(config.every_judge)
    named = told_apart(config.every_judge)
    asked = {name: _hasty(named[name]) for each in trials for name in each.by_judge}
    with ExitStack() as stack:
        lines = stack.enter_context(_writing(json_file))
        judges = stack.enter_context(closing(judges_of(asked, ranks, console.print)))
        with page.phase(_starting(asked)):
            judges.start()
            judges.connect()
        session = _Session(config, judges, page, lines)
        judgements = session.judge(trial)
        summary = TrialSummary.of(judgements, trial.rewards)
        _write(lines, summary.to_json())
        show_summary(page, summary, {name: asked[name] for name in trial.by_judge}, repeats)
        failed = summary.tally.failed
        if (alone := trial.each_alone(asked)) is not None:
            failed += session.ask_alone(alone, judgements)
        if other is not None:
            failed += session.hold_against(trial, other, judgements)
    return failed


def _tell_left_out(config: RunConfig, page: Page) -> None:
    for name in compared_rewards(config):
        page.line(
            f"rewards.{name}: left out, it compares samples of one prompt with one another; its "
            f"metrics judge/{name}/... say how far the judge goes by the order"
        )


@dataclass(frozen=True)
class _Session:
    """Judges that answer, and the places for what they say."""

    config: RunConfig
    judges: Judges
    page: Page
    lines: IO[str] | None

    def judge(self, trial: Trial) -> list[Judgement]:
        """Every judgement of a trial, shown when it is complete."""
        judgements = []
        with self.page.phase(f"judging {_announcement(trial)}"):
            for judgement in trial.judged_by(self.judges):
                judgements.append(judgement)
                _write(self.lines, judgement.to_json())
                show_judgement(self.page, judgement)
        return judgements

    def ask_alone(self, alone: Trial, together: Sequence[Judgement]) -> int:
        """Show how far verdicts on criteria that share calls agree with those on each alone.

        Args:
            alone: asks each alone.
            together: the judgements on the same responses, with criteria that share calls.

        Returns:
            Verdicts on criteria alone that failed.
        """
        with self.page.phase(f"asking each criterion alone, {_announcement(alone)}"):
            second = list(alone.judged_by(self.judges))
        rows = agreement_rows(together, second)
        _write(self.lines, {"alone": {"rows": to_json(rows)}})
        show_ways(self.page, rows, together, second)
        return sum(verdict.failed for judgement in second for verdict in judgement.verdicts)

    def hold_against(self, trial: Trial, other: Trial, first: Sequence[Judgement]) -> int:
        """Show how far another judge agrees, and what training would cost with either.

        Args:
            trial: asks the judges that rewards name.
            other: asks that judge about the same responses.
            first: judgements by the judges that rewards ask.

        Returns:
            Verdicts of the other judge that failed.
        """
        (name,) = other.by_judge
        with self.page.phase(f"asking judge '{name}' the same, {_announcement(other)}"):
            second = list(other.judged_by(self.judges))
        for judgement in second:
            _write(self.lines, {"judge": name, **judgement.to_json()})
        rows = agreement_rows(first, second)
        _write(self.lines, {"against": {"judge": name, "rows": to_json(rows)}})
        show_agreement(self.page, rows, name)
        held = TrialSummary.of(second, other.rewards)
        show_failures(self.page, held, name)
        self._show_costs(trial, first, second, name)
        return held.tally.failed

    def _show_costs(
        self, trial: Trial, first: Sequence[Judgement], second: Sequence[Judgement], other: str
    ) -> None:
        """Show the cost of training with the judges that rewards ask, and with another alone.

        Args:
            first, second: judgements by the ones and by the other.
            other: its name.
        """
        steps, rollout = self.config.steps, self.config.rollout
        samples = rollout.sampled_prompts * rollout.samples_per_prompt
        own, alone = asked_of_a_sample(trial), asked_of_a_sample(trial.asking(other))
        ways = [(own, list(first)), (alone, [*first, *second])]
        costs = [
            tuple(
                JudgeCost(
                    judge=judge,
                    verdicts=steps * samples * asked,
                    words=run_cost(
                        answers_by(judge, judgements),
                        self.config.every_judge[judge],
                        steps * samples * asked,
                    ),
                )
                for judge, asked in way.items()
            )
            for way, judgements in ways
        ]
        about = f"{steps:,} steps of {samples:,} samples, {sum(own.values()):.1f} each"
        show_costs(self.page, about, costs)


def known_judge(judge: str, config: RunConfig, option: str = "--judge") -> str:
    """The name of a judge, if the run has it.

    Raises:
        ConfigError: it has none of that name.
    """
    there = list(config.every_judge)
    if judge not in there:
        guess = nearest(judge, there)
        meant = f"did you mean {guess}?" if guess else f"there are {', '.join(there)}"
        raise ConfigError(f"{option} {judge}: there is no such judge; {meant}")
    return judge


def _hasty(judge: JudgeConfig) -> JudgeConfig:
    deadline_s = min(judge.deadline_s, PATIENCE * judge.timeout_s)
    return judge.model_copy(update={"deadline_s": deadline_s})


def _starting(judges: Mapping[str, JudgeConfig]) -> str:
    names = [each.model or (each.serve and each.serve.model) for each in judges.values()]
    return f"starting the judge{'s' * (len(names) > 1)}, {', '.join(map(str, names))}"


def _announcement(trial: Trial) -> str:
    prompts = len({response.prompt.turns for response in trial.responses})
    return (
        f"{_count(len(trial.responses), 'response')} to {_count(prompts, 'prompt')}: "
        f"{_count(trial.verdicts, 'verdict')}, {_count(trial.repeats, 'time')} each question"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        # A lone surrogate, which UTF-8 cannot hold, becomes its escape, as JSON would write it.
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"--json: {path} cannot be written ({error.strerror}); give another file"
        ) from error
    with file:
        yield file


def _write(file: IO[str] | None, value: dict[str, Any]) -> None:
    if file is not None:
        file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()
