"""Settings of the files that hold every sample."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from rvpo.fields import NonNegativeFloat, NonNegativeInt, PositiveInt, Section


class SampleFilesConfig(Section):
    """The files that hold every sample of a run."""

    gzip_mb: NonNegativeFloat = 1.0
    """Megabytes from which the samples of a step are written as .jsonl.gz, each rank's for
    itself: a third of the bytes. `zcat -f` reads both kinds, and so does everything here."""
    keep: PositiveInt | None = None
    """Newest steps whose samples stay; all if left out."""
    every: NonNegativeInt = 0
    """Distance of steps that keep their samples although they are older; 0 for none of them."""

    @model_validator(mode="after")
    def _every_needs_keep(self) -> Self:
        if self.every and self.keep is None:
            raise ValueError(
                "every: says what stays of the steps before the newest `keep`, and without `keep` "
                "all of them stay; give both, such as {keep: 20, every: 50}"
            )
        return self
