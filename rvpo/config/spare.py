"""The settings of criteria that are asked of a few samples alone."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.fields import PositiveInt, Section


class SpareConfig(Section):
    """Criteria that tell no samples apart are asked of a few samples of each group."""

    after: PositiveInt = 20
    """Steps in a row in which every sample that was asked met a criterion, or none did, before it
    is asked of a few."""
    ask: PositiveInt = 2
    """Samples of a group that are still asked, drawn by the seed before any answer is known."""

    def problems(self, where: str, group_size: int) -> Iterator[str]:
        """Sentences on few that are all.

        Args:
            where: the section.
            group_size: G.
        """
        if self.ask >= group_size:
            yield (
                f"{where}.ask: {self.ask} of a group's {group_size} samples "
                "(rollout.samples_per_prompt) spare nothing; make it smaller, or leave spare out"
            )
