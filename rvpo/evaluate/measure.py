"""One benchmark, one set of weights: generate, grade, keep, summarise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rvpo.benchmarks.benchmark import Benchmark, BenchmarkSummary, Pending, Row, Score
from rvpo.errors import RewardError, SpentError
from rvpo.evaluate.at_k import with_k
from rvpo.evaluate.dialogue import PromptRefusal, go_on, never
from rvpo.evaluate.results import RUN, ResultFolder
from rvpo.judge.spending import SPENT
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt, Sample

TOO_MANY_FAILED = 0.5
"""Share of a batch's verdicts: if more failed, the judge is not there, and asking on would only
waste the rest."""


def measure(
    benchmark: Benchmark,
    engine: RolloutEngine,
    folder: ResultFolder,
    ranks: Ranks,
    *,
    weights: Mapping[str, Any],
    seed: int,
    say: Callable[[str], None],
    refusal: PromptRefusal = never,
) -> BenchmarkSummary:
    """Evaluate the weights that the engine has; batches that `folder` holds are not done again.

    Args:
        weights: identity of the weights, JSON-ready.
        seed: decides sampling; each batch has one of its own, so that it does not matter where an
            evaluation was interrupted.
        say: told what is going on.
        refusal: gives the reason that a further prompt of a dialogue cannot be answered, which
            breaks it off.

    Returns:
        The scores, the same on every rank.

    Raises:
        ConfigError: the folder has results of something else.
        CheckpointError: its files are damaged.
        DataError: a prompt is too long for the model.
        EngineError, RewardError: the engine or the judge failed; what is kept stays.
        SpentError: the judge may cost no more.
    """
    prompts = benchmark.prompts
    rows: list[Row] = []
    size = benchmark.config.batch * ranks.size
    if ranks.is_main:
        run = {"weights": dict(weights), "seed": seed, "batch": size}
        folder.claim({**benchmark.identity, RUN: run})
    ranks.wait()
    for number, start in enumerate(range(0, len(prompts), size)):
        chunk = prompts[start : start + size]
        # A network's disk may show another rank less, and it would generate alone.
        with ranks.together():
            found = folder.batch(number, chunk) if ranks.is_main else None
        known = ranks.first(found)
        if known is None:
            say(f"{benchmark.name}: {start} of {len(prompts)} answers")
            made = _generate(
                benchmark, engine, chunk, ranks, derived_seed(seed, number, ranks.rank), refusal
            )
            rows += _keep(benchmark, folder, number, made, ranks)
        elif any(map(benchmark.ungraded, known)):
            say(f"{benchmark.name}: asking again what was not graded")
            made = _grade_again(benchmark, chunk, known, ranks)
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


def _generate(
    benchmark: Benchmark,
    engine: RolloutEngine,
    chunk: Sequence[Prompt],
    ranks: Ranks,
    seed: int,
    refusal: PromptRefusal,
) -> list[Row]:
    """This rank's share of the batch, graded while others are still being generated."""
    mine = chunk[ranks.share(len(chunk))]
    pending: dict[int, Pending] = {}
    with benchmark.dialogues() as begin:
        talks = {n: talk for n, each in enumerate(mine) if (talk := begin(each)) is not None}

        def grade(row: int, sample: Sample) -> None:
            if row not in talks:
                pending[row] = benchmark.grade(sample.prompt, sample.seen(benchmark.sees))

        sampling = benchmark.config.sampling
        rollout = engine.generate(mine, 1, seed, on_sample=grade, sampling=sampling)
        rows = [_row([sample]) for sample in rollout.samples]
        if benchmark.has_dialogues:
            first = {n: rollout.samples[n] for n in talks}
            said = go_on(benchmark, engine, talks, first, ranks, seed, refusal)
            for n, samples in said.items():
                rows[n], pending[n] = _row(samples), partial(_same, talks[n].grade())
        return _finished([(row, pending[n]) for n, row in enumerate(rows)])


def _same(row: Row) -> Row:
    return row


def _grade_again(
    benchmark: Benchmark, chunk: Sequence[Prompt], known: Sequence[Row], ranks: Ranks
) -> list[Row]:
    """This rank's share of the batch, with what an earlier attempt could not determine."""
    mine = list(zip(chunk, known, strict=True))[ranks.share(len(chunk))]
    again = [
        (row, benchmark.grade(prompt, row.get("answer", row["completion"]), row))
        for prompt, row in mine
        if benchmark.ungraded(row)
    ]
    graded = {row["id"]: row for row in _finished(again)}
    return [graded.get(row["id"], row) for _, row in mine]


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
        raise RewardError(
            f"{benchmark.name}: the judge failed on {ungraded:.0%} of what it was asked about "
            f"{len(rows)} answers{_most_failures(rows)}; mend the judge, then give the same "
            "command again: answers and verdicts that came are kept"
        )
    return rows


def _most_failures(rows: Sequence[Row]) -> str:
    failures = Counter(v["failure"] for row in rows for v in row.get("verdicts", ()))
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


def _row(samples: Sequence[Sample]) -> dict[str, Any]:
    """One response; of a dialogue the first prompt and the last answer, and all of its tokens."""
    first, last = samples[0], samples[-1]
    cut = any(sample.finish_reason == "length" for sample in samples)
    return {
        "id": first.prompt.id,
        "prompt": [dict(message) for message in first.prompt.messages],
        "completion": last.text,
        "thought": last.thought,
        "answer": last.answer,
        "completion_tokens": sum(len(sample.completion_ids) for sample in samples),
        "answer_tokens": sum(sample.answer_length for sample in samples),
        "finish_reason": "length" if cut else last.finish_reason,
    }
