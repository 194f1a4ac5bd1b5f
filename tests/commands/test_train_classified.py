"""A run from the command line whose rewards are the scores of classifiers: one that the run serves
itself, and one at an endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvpo.judge.classifier.model import Classifier, Loading
from rvpo.judge.control_tokens import harmless
from tests.classifiers import save_tiny_classifier, scoring
from tests.commands.test_train import metrics, samples, train, write_config

pytestmark = pytest.mark.slow

STEPS = 1
SAMPLES = STEPS * 8


def share_of_vowels(response: str) -> list[float]:
    share = sum(letter in "aeiou" for letter in response) / max(1, len(response))
    return [1 - share, share]


def test_a_run_learns_from_the_scores_of_its_own_classifier_and_of_one_that_is_served_elsewhere(
    tiny_model: Path, tmp_path: Path
) -> None:
    guard = save_tiny_classifier(tmp_path / "guard")
    kept = {"cache": str(tmp_path / "scores.sqlite")}
    with scoring(share_of_vowels) as server:
        rewards = {
            "safe": {"classifier": {"serve": str(guard), **kept}, "label": "unsafe"},
            "plain": {
                "classifier": {"model": "guard", "endpoints": [{"url": server.url}], **kept},
                "label": 1,
                "polarity": "negative",
                "template": "<<response>>",
                "sees": "everything",
            },
        }
        rewards["safe"]["polarity"] = "negative"
        said = train(write_config(tiny_model, tmp_path, steps=STEPS, rewards=rewards))
    run = tmp_path / "run"
    classifier = Classifier.load(Loading(str(guard)))
    rows = samples(run)
    assert len(rows) == SAMPLES
    for row in rows:
        response = harmless(row["completion"])
        chat = [*row["prompt"], {"role": "assistant", "content": response}]
        (logits,) = classifier.logits([classifier.tokens({"messages": chat})])
        assert row["scores"]["safe"] == pytest.approx(
            1 - classifier.probabilities(logits)[1], abs=1e-6
        )
        share = share_of_vowels(response)[1]
        assert row["scores"]["plain"] == pytest.approx(1 - share)
        assert row["remarks"]["safe"]["question"] == "unsafe, by rewards.safe.classifier"
    for line in metrics(run):
        assert line["judge/verdicts"] == 2 * SAMPLES / STEPS
        assert line["judge/safe/failed_frac"] == line["judge/plain/failed_frac"] == 0
        assert line["judges/plain.classifier/verdicts"] == SAMPLES / STEPS
    assert "gave no verdict" not in said
