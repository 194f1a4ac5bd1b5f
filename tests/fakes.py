"""Small real values to test with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, Literal, TypeVar

import torch

from rvpo.config.judge import BudgetConfig
from rvpo.config.judges import OWN
from rvpo.criterion import Criterion
from rvpo.episode import Ending, Episode, Turn
from rvpo.judge.types import Answer, Job, Judge, Question, Usage
from rvpo.report.record import StepRecord
from rvpo.report.run_folder import RunFolder
from rvpo.report.trackers import TrackedRun
from rvpo.rewards.judging import AskedJudge
from rvpo.rollout.further import Further, awaited
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.sampling import Sampling
from rvpo.types import Advantages, Prompt, Rewards, Rollout, RolloutScores, Sample

T = TypeVar("T")


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """One of several ranks that are threads of this process; a rank that never comes fails all."""

    parts: list[Any] = field(default_factory=list, repr=False, compare=False)
    barrier: Barrier = field(default_factory=lambda: Barrier(1), repr=False, compare=False)

    def gather_objects(self, value: T) -> list[T]:
        self.parts[self.rank] = value
        self.barrier.wait(60)
        every = list(self.parts)
        self.barrier.wait(60)
        return every

    def wait(self) -> None:
        self.gather_objects(None)


def on_each_rank(work: Callable[[Ranks], T], size: int = 2) -> list[T | Exception]:
    """What `work` gives or raises on each of so many ranks."""
    parts, barrier = [None] * size, Barrier(size)

    def run(rank: int) -> T | Exception:
        try:
            return work(ThreadRanks(rank, size, torch.device("cpu"), None, parts, barrier))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


def timeless(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics that depend on neither seconds nor the memory of a device."""
    measured = (
        *("timing/", "tokens_per_second/", "mfu/", "memory/"),
        *("episodes/world_seconds", "episodes/wait_exposed_s"),
    )
    return {name: value for name, value in metrics.items() if not name.startswith(measured)}


def make_prompt(id: str = "sum/0", content: str = "What is 1 + 2?", **columns: Any) -> Prompt:
    return Prompt(id=id, messages=({"role": "user", "content": content},), columns=columns)


def make_sample(
    prompt: Prompt | None = None,
    text: str = "Answer: 3",
    *,
    finish_reason: Literal["stop", "length"] = "stop",
    policy_version: int = 0,
) -> Sample:
    """A sample of one token per byte, each as likely as not."""
    ids = tuple(text.encode())
    return Sample(
        prompt=prompt or make_prompt(),
        prompt_ids=(1, 2, 3),
        completion_ids=ids,
        logprobs=(-0.6931,) * len(ids),
        text=text,
        finish_reason=finish_reason,
        policy_version=policy_version,
    )


def make_episode(
    *said: str,
    prompt: Prompt | None = None,
    ending: Ending = "answered",
    reason: str = "",
    **fields: Any,
) -> Sample:
    """An episode of one token per byte: the policy, then a tool, then the policy, and so on; any
    model's thoughts are thoughts."""
    turns: list[Turn] = []
    place = 0
    for number, text in enumerate(said):
        stop = place + len(text.encode("utf-8", "replace"))
        if number % 2:
            turns.append(Turn(({"role": "tool", "content": text},), place, stop))
        else:
            drawn = make_sample(text=text)
            message = {"role": "assistant", "content": text}
            thought = drawn.thought_length
            turns.append(Turn((message,), place, stop, text, drawn.answer, thought))
        place = stop
    ids = tuple("".join(said).encode("utf-8", "replace"))
    given = tuple(p for turn in turns if not turn.is_policy for p in range(turn.start, turn.stop))
    return Sample(
        prompt=prompt or make_prompt(),
        prompt_ids=(1, 2, 3),
        completion_ids=ids,
        logprobs=tuple(0.0 if place in given else -0.6931 for place in range(len(ids))),
        text=said[-1],
        finish_reason="length" if ending == "out_of_tokens" else "stop",
        policy_version=0,
        given=given,
        episode=Episode(turns=tuple(turns), ending=ending, reason=reason, **fields),
    )


def make_rollout(prompts: int = 2, group_size: int = 2, *, policy_version: int = 0) -> Rollout:
    """Samples "0.0", "0.1", … "1.0", …: prompt and place in the group."""
    samples = tuple(
        make_sample(make_prompt(f"sum/{p}"), f"{p}.{g}", policy_version=policy_version)
        for p in range(prompts)
        for g in range(group_size)
    )
    return Rollout(samples=samples, group_size=group_size)


def make_scores(
    values: Sequence[Sequence[float | None]],
    names: Sequence[str] = ("correct", "brief"),
    group_size: int = 2,
    failures: Mapping[tuple[int, int], str] | None = None,
) -> RolloutScores:
    """A scored step from rows; None is a score that does not exist."""
    rewards = Rewards(
        torch.tensor([[0.0 if x is None else x for x in row] for row in values]),
        names,
        group_size,
        valid=torch.tensor([[x is not None for x in row] for row in values]),
    )
    return with_columns(rewards, failures)


def with_columns(
    rewards: Rewards, failures: Mapping[tuple[int, int], str] | None = None
) -> RolloutScores:
    """Rewards of which reports show each column for itself."""
    return RolloutScores(rewards=rewards, aspects=rewards.columns, failures=failures or {})


def make_advantages(rewards: Rewards, metrics: Mapping[str, float] | None = None) -> Advantages:
    """Row i gets advantage i; z is the score less one half."""
    return Advantages(
        values=torch.arange(len(rewards.values), dtype=torch.float32),
        trained=torch.ones(len(rewards.values), dtype=torch.bool),
        z=torch.where(rewards.valid, rewards.values - 0.5, 0.0),
        metrics=metrics or {},
    )


def make_record(step: int, metrics: Mapping[str, float] | None = None) -> StepRecord:
    """A step of two prompts with two samples each; one score is lost, one does not apply."""
    scored = make_scores(
        [[1.0, 0.25], [0.0, None], [1.0, 0.75], [None, 0.5]], failures={(3, 0): "timed out"}
    )
    return StepRecord(
        step=step,
        rollout=make_rollout(policy_version=step - 1),
        scored=scored,
        advantages=make_advantages(scored.rewards),
        first_row=0,
        metrics=metrics if metrics is not None else {"rewards/correct/mean": 0.5},
    )


def tracked(folder: RunFolder, said: list[str]) -> TrackedRun:
    """A run to be followed, whose words go into `said`."""
    return TrackedRun(
        folder=folder,
        project="rvpo",
        group="quick",
        arm="rvpo",
        config={"advantage": {"name": "rvpo", "k": 1.0}},
        say=said.append,
    )


class FakeEngine:
    """Answers every prompt by a rule, and further ones in rounds. Where the rule gives a sample, it
    is that one."""

    def __init__(self, rule: Callable[[Prompt], str | Sample]) -> None:
        self._rule = rule

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: Callable[[int, Sample], None] = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        samples: dict[int, Sample] = {}
        asked = dict(enumerate(rows))
        while asked:
            for row, prompt in asked.items():
                said = self._rule(prompt)
                samples[row] = said if isinstance(said, Sample) else make_sample(prompt, said)
            for row in asked:
                on_sample(row, samples[row])
            more = () if further is None else awaited(further, all_of_them=True)
            asked = {request.row: request.prompt for request in more}
        every = tuple(samples[row] for row in range(len(rows)))
        return Rollout(samples=every, group_size=samples_per_prompt)

    def load_weights(self, weights: object, version: int) -> None:
        pass

    def close(self) -> None:
        pass


class FakeJudge:
    """Answers by a rule; holds answers back until `release` where it is told to."""

    def __init__(self, rule: Callable[[str, Question], Answer], held: bool = False) -> None:
        self.jobs: list[Job] = []
        self.cancelled = 0
        self._rule = rule
        self._held = held
        self._open: list[tuple[Job, Future[tuple[Answer, ...]]]] = []

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        self.jobs.append(job)
        future: Future[tuple[Answer, ...]] = Future()
        self._open.append((job, future))
        if not self._held:
            self.release()
        return future

    def release(self) -> None:
        for job, future in self._open:
            if future.set_running_or_notify_cancel():
                future.set_result(tuple(self._rule(job.response, q) for q in job.questions))
        self._open = []

    def cancel(self) -> None:
        self.cancelled += 1
        for _, future in self._open:
            future.cancel()


def only(judge: Judge, budget: BudgetConfig | None = None) -> dict[str, AskedJudge]:
    """The one judge of a run, as a suite of rewards takes it."""
    return {OWN: AskedJudge(judge, budget or BudgetConfig())}


def says(response: str, question: Question) -> Answer:
    """A criterion is met where the response contains its text; a rating is the share of lines."""
    usage = Usage(requests=1, input_tokens=10, output_tokens=2, cost=0.5, latency_s=0.25)
    if question.kind == "criterion":
        met = question.text in response
        return Answer(value=float(met), reason=f"it says {response}", usage=usage)
    lines = question.text.splitlines()
    found = sum(line.split()[-1] in response for line in lines)
    return Answer(value=found / len(lines), usage=usage)


def make_criteria(*texts: str, **fields: Any) -> list[dict[str, Any]]:
    """Criteria as a data column holds them; a text that starts with "!" is to be avoided."""
    return [
        Criterion(
            text=text.removeprefix("!"),
            polarity="negative" if text.startswith("!") else "positive",
            **fields,
        ).to_row()
        for text in texts
    ]
