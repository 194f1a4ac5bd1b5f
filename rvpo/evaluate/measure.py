"""One benchmark, one set of weights: generate, grade, keep, summarise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from rvpo.benchmarks.benchmark import Benchmark, BenchmarkSummary, Pending, Row, Score
from rvpo.errors import RewardError, SpentError
from rvpo.evaluate.at_k import with_k
from rvpo.evaluate.results import RUN, ResultFolder
from rvpo.judge.spending import SPENT
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt, Sample

TOO_MANY_FAILED = 0.5
"""Share of a batch's verdicts: if more failed, the judge or the world is not there, and asking on
would only waste the rest."""


def measure(
    benchmark: Benchmark,
    engine: RolloutEngine,
    folder: ResultFolder,
    ranks: Ranks,
    *,
    weights: Mapping[str, Any],
    seed: int,
    say: Callable[[str], None],
    encoder: Encoder | None = None,
) -> BenchmarkSummary:
    """Evaluate the weights that the engine has; batches that `folder` holds are not done again.

    Args:
        weights: identity of the weights, JSON-ready.
        seed: decides sampling; each batch has one of its own, so that it does not matter where an
            evaluation was interrupted.
        say: told what is going on.
        encoder: writes the prompts of conversations; a benchmark that has none does without.

    Returns:
        The scores, the same on every rank.

    Raises:
        ConfigError: the folder has results of something else.
        CheckpointError: its files are damaged.
        DataError: a prompt is too long for the model.
        EngineError, RewardError: the engine failed, or the judge or the world too often; what is
            kept stays.
        SpentError: the judge may cost no more.
    """
    prompts = benchmark.prompts
    rows: list[Row] = []
    size = benchmark.config.batch * ranks.size
    if ranks.is_main:
        run = {"weights": dict(weights), "seed": seed, "batch": size}
        folder.claim({**benchmark.identity, RUN: run})
    ranks.wait()
    with _playing(benchmark, engine, encoder) as player:
        for number, start in enumerate(range(0, len(prompts), size)):
            chunk = prompts[start : start + size]
            mine, own_seed = ranks.share(len(chunk)), derived_seed(seed, number, ranks.rank)
            # A network's disk may show another rank less, and it would generate alone.
            with ranks.together():
                found = folder.batch(number, chunk) if ranks.is_main else None
            known = ranks.first(found)
            if known is None:
                say(f"{benchmark.name}: {start} of {len(prompts)} answers")
                made = _generate(benchmark, player, chunk[mine], own_seed)
                rows += _keep(benchmark, folder, number, made, ranks)
            elif any(map(benchmark.ungraded, known)):
                say(f"{benchmark.name}: asking again what was not graded")
                made = _grade_again(benchmark, player, chunk[mine], known[mine], own_seed)
                rows += _keep(benchmark, folder, number, made, ranks)
            else:
                rows += known
    summary = _with_lengths(with_k(benchmark, benchmark.summarise(rows), rows), rows)
    if ranks.is_main:
        folder.conclude(summary)
    return summary


def check_lengths(benchmark: Benchmark, encoder: Encoder, section: str) -> None:
    """Refuse questions that leave no room for an answer.

    Args:
        section: the one of the settings that has the benchmark's, such as evaluate.benchmarks.

    Raises:
        DataError: with the longest of them.
    """
    setting = f"{section}.{benchmark.name}.max_completion_tokens"
    tokens = benchmark.config.sampling.max_completion_tokens
    encoder.check_lengths((*benchmark.prompts, *benchmark.later), tokens, setting=setting)


@contextmanager
def _playing(
    benchmark: Benchmark, engine: RolloutEngine, encoder: Encoder | None
) -> Iterator[RolloutEngine]:
    """The engine, with the benchmark's world to answer it where there is one."""
    limits = benchmark.world
    if limits is None:
        yield engine
        return
    assert encoder is not None
    sampling = benchmark.config.sampling
    player = EpisodeEngine(engine, benchmark.open(), limits, encoder, sampling, as_served=True)
    with closing(player):
        yield player


def _generate(
    benchmark: Benchmark, engine: RolloutEngine, prompts: Sequence[Prompt], seed: int
) -> list[Row]:
    """The answers, graded while others are still being generated."""
    pending: dict[int, Pending] = {}

    def grade(row: int, sample: Sample) -> None:
        prompt, sees = sample.prompt, benchmark.sees
        if sample.episode is None:
            pending[row] = benchmark.grade(prompt, sample.seen(sees))
        else:
            pending[row] = benchmark.grade_episode(prompt, sample.sampled(sees), sample.episode)

    sampling = benchmark.config.sampling
    rollout = engine.generate(prompts, 1, seed, on_sample=grade, sampling=sampling)
    return _finished([(_row(sample), pending[n]) for n, sample in enumerate(rollout.samples)])


def _grade_again(
    benchmark: Benchmark,
    engine: RolloutEngine,
    prompts: Sequence[Prompt],
    known: Sequence[Row],
    seed: int,
) -> list[Row]:
    """The answers, with what an earlier attempt could not determine. What a world failed is played
    again; every rank must call, for all of them generate."""
    again = [(p, row) for p, row in zip(prompts, known, strict=True) if benchmark.ungraded(row)]
    if benchmark.world is not None:
        graded = _generate(benchmark, engine, [prompt for prompt, _ in again], seed)
    else:
        graded = _finished(
            [
                (row, benchmark.grade(prompt, row.get("answer", row["completion"]), row))
                for prompt, row in again
            ]
        )
    by_id = {row["id"]: row for row in graded}
    return [by_id.get(row["id"], row) for row in known]


def _finished(rows: Sequence[tuple[Row, Pending]]) -> list[Row]:
    return [{**row, **grade()} for row, grade in rows]


def _keep(
    benchmark: Benchmark, folder: ResultFolder, number: int, made: list[Row], ranks: Ranks
) -> list[Row]:
    rows = [row for part in ranks.gather_objects(made) for row in part]
    if ranks.is_main:
        folder.keep(number, rows)
    if any(verdict["failure"] == SPENT for row in rows for verdict in row.get("verdicts", ())):
        raise SpentError(
            f"{benchmark.name}: the dollars that its judge may cost are spent, and some verdicts "
            "were not asked; raise budget.dollars of that judge, then give the same command again: "
            "answers and verdicts that came are kept"
        )
    ungraded = sum(map(benchmark.ungraded, rows)) / len(rows)
    if ungraded > TOO_MANY_FAILED:
        who = "judge" if benchmark.world is None else "world of its conversations"
        raise RewardError(
            f"{benchmark.name}: the {who} failed on {ungraded:.0%} of what it was asked about "
            f"{len(rows)} answers{_most_failures(rows)}; mend the {who}, then give the same "
            "command again: answers and verdicts that came are kept"
        )
    return rows


def _most_failures(rows: Sequence[Row]) -> str:
    failures = Counter(v["failure"] for row in rows for v in row.get("verdicts", ()))
    failures.update(row["detail"] for row in rows if row.get("reason") == "failed")
    failures.pop(None, None)
    return f" (mostly {failures.most_common(1)[0][0]})" if failures else ""


def _with_lengths(summary: BenchmarkSummary, rows: Sequence[Row]) -> BenchmarkSummary:
    """An answer that was cut off is often a wrong one. The names are TRL's."""
    cut = sum(row["finish_reason"] == "length" for row in rows)
    tokens = sum(row["completion_tokens"] for row in rows)
    lengths = {"clipped_ratio": cut, "mean_length": tokens}
    answers = sum(row.get("answer_tokens", row["completion_tokens"]) for row in rows)
    if answers < tokens:
        lengths |= {"thought_mean_length": tokens - answers, "answer_mean_length": answers}
    return replace(
        summary,
        scores=dict(summary.scores)
        | {
            f"completions/{name}": Score(value=total / len(rows), count=len(rows))
            for name, total in lengths.items()
        },
    )


def _row(sample: Sample) -> dict[str, Any]:
    """One response; of a conversation the prompt and the last answer, and all of its tokens."""
    return {
        "id": sample.prompt.id,
        "prompt": [dict(message) for message in sample.prompt.messages],
        "completion": sample.text,
        "thought": sample.thought,
        "answer": sample.answer,
        "completion_tokens": sample.length,
        "answer_tokens": sample.answer_length,
        "finish_reason": sample.finish_reason,
    }
