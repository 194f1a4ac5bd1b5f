"""The answers of the policy before training, kept so that later ones can be compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rvpo.report.run_folder import write_json
from rvpo.report.stored import Stored, Text, checked, damaged, read_json
from rvpo.thinking import Sees
from rvpo.types import Sample

_ADVICE = "; bring it back: held-out answers are compared with those of the policy before training"


class FirstAnswer(Stored):
    """An answer to a held-out prompt, of the policy before training."""

    prompt_id: Text
    answer: Text
    everything: Text
    missing: Text = ""
    """Reason that it has no score; empty where it has one."""

    @classmethod
    def of(cls, sample: Sample) -> FirstAnswer:
        return cls(
            prompt_id=sample.prompt.id,
            answer=sample.seen("answer"),
            everything=sample.seen("everything"),
            missing=sample.missing,
        )

    def seen(self, sees: Sees) -> str:
        """Part that the judge is shown."""
        return self.answer if sees == "answer" else self.everything


class _File(Stored):
    answers: list[FirstAnswer]


def keep_first_answers(path: Path, answers: Sequence[FirstAnswer]) -> None:
    """Write the answers of all ranks, in the order of their rows.

    Raises:
        CheckpointError: the disk is full, or the file may not be written.
    """
    write_json(path, {"answers": [answer.model_dump() for answer in answers]})


def read_first_answers(path: Path, prompt_ids: Sequence[str]) -> list[FirstAnswer]:
    """The answers that were kept.

    Args:
        prompt_ids: [N] the prompt of each row.

    Raises:
        CheckpointError: the file is gone or damaged, or is of other prompts.
    """
    answers = checked(_File, read_json(path, _ADVICE), path, _ADVICE).answers
    if [answer.prompt_id for answer in answers] != list(prompt_ids):
        raise damaged(path, "its answers are to other prompts", _ADVICE)
    return answers
