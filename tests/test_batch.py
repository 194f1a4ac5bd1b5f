"""The row that a micro-batch is."""

from __future__ import annotations

from dataclasses import replace

import torch

from rvpo.trainer.batch import micro_batches
from rvpo.types import Sample
from tests.fakes import make_prompt, make_sample

CPU = torch.device("cpu")


def sample(prompt_ids: tuple[int, ...], ids: tuple[int, ...]) -> Sample:
    logprobs = tuple(-float(token) for token in ids)
    plain = make_sample(make_prompt())
    return replace(plain, prompt_ids=prompt_ids, completion_ids=ids, logprobs=logprobs)


def test_a_row_holds_each_prompt_once_and_every_completion_behind_it() -> None:
    samples = [sample((1, 2), (3,)), sample((1, 2), (4, 5)), sample((6,), (7, 8))]
    (batch,) = micro_batches(samples, [0.5, -1.0, 2.0], 8, CPU)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 2, 3, 0, 1, 2]]
    assert batch.completion_ids.tolist() == [3, 4, 5, 7, 8]
    assert batch.predecessors.tolist() == [1, 1, 3, 5, 6]
    assert batch.sampled_logprobs.tolist() == [-3, -4, -5, -7, -8]
    assert batch.advantages.tolist() == [0.5, -1.0, -1.0, 2.0, 2.0]


def test_a_token_sees_its_prompt_and_its_own_completion_up_to_itself() -> None:
    samples = [sample((1, 2), (3,)), sample((1, 2), (4, 5)), sample((6,), (7,))]
    (batch,) = micro_batches(samples, [0.0] * 3, 8, CPU)
    expected = [
        "1......",  # prompt A
        "11.....",
        "111....",  # its first completion
        "11.1...",  # its second
        "11.11..",
        ".....1.",  # prompt B
        ".....11",
    ]
    visible = ["".join("1" if x else "." for x in row) for row in batch.visible[0, 0].tolist()]
    assert visible == expected


def test_micro_batches_keep_the_order_and_drop_nobody() -> None:
    samples = [sample((group,), (group, place)) for group in range(3) for place in range(4)]
    batches = micro_batches(samples, [float(i) for i in range(12)], 5, CPU)
    assert [len(batch.samples) for batch in batches] == [5, 5, 2]
    assert [s for batch in batches for s in batch.samples] == samples
