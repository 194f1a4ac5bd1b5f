"""Data sets that bring rubrics: each format one file, each its own section of the settings.

A new one is a file with a subclass of `RubricSource` that has a `format`, and its class in
`RubricFormat` below. Where its rows have a prompt in one column and criteria in another, a subclass
of `TableSource` that names them is enough.
"""

from __future__ import annotations

from rvpo.rubrics.dr_tulu import DrTuluSource
from rvpo.rubrics.healthbench import HealthBenchSource
from rvpo.rubrics.healthbench_professional import HealthBenchProfessionalSource
from rvpo.rubrics.nemo_gym import NemoGymSource
from rvpo.rubrics.open_rubrics import OpenRubricsSource
from rvpo.rubrics.own import CriteriaSource
from rvpo.rubrics.prbench import PrBenchSource
from rvpo.rubrics.rar import RarSource
from rvpo.rubrics.research_rubrics import ResearchRubricsSource
from rvpo.rubrics.rubrichub import RubricHubSource
from rvpo.rubrics.source import RubricSource
from rvpo.rubrics.wild_checklists import WildChecklistsSource

_Table = (
    HealthBenchProfessionalSource
    | RubricHubSource
    | DrTuluSource
    | ResearchRubricsSource
    | PrBenchSource
    | WildChecklistsSource
    | OpenRubricsSource
    | NemoGymSource
    | CriteriaSource
)
RubricFormat = RarSource | HealthBenchSource | _Table
"""The sources that the `format` beside `rubrics` may choose."""

__all__ = ["HealthBenchSource", "RarSource", "RubricFormat", "RubricSource"]
