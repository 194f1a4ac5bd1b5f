"""Rows in the shapes of public rubric data sets. All content is invented."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rvpo.rubrics.dr_tulu import DrTuluSource
from rvpo.rubrics.healthbench_professional import HealthBenchProfessionalSource
from rvpo.rubrics.nemo_gym import NemoGymSource
from rvpo.rubrics.open_rubrics import OpenRubricsSource
from rvpo.rubrics.prbench import PrBenchSource
from rvpo.rubrics.research_rubrics import ResearchRubricsSource
from rvpo.rubrics.rubrichub import RubricHubSource
from rvpo.rubrics.table import TableSource
from rvpo.rubrics.wild_checklists import WildChecklistsSource

SOURCES: dict[str, type[TableSource]] = {
    "healthbench_professional": HealthBenchProfessionalSource,
    "rubrichub": RubricHubSource,
    "dr_tulu": DrTuluSource,
    "research_rubrics": ResearchRubricsSource,
    "prbench": PrBenchSource,
    "wildchecklists": WildChecklistsSource,
    "openrubrics": OpenRubricsSource,
    "nemo_gym": NemoGymSource,
}


def source(name: str, **settings: Any) -> TableSource:
    return SOURCES[name](rubrics="x", format=name, **settings)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _professional(question: str, size: str, _: str, text: str) -> dict[str, Any]:
    return {
        "id": question,
        "conversation": {"messages": user(question)},
        "rubric_items": [{"criterion_text": text, "points": int(size)}],
        "physician_response": None,
    }


def _rubrichub(question: str, size: str, _: str, text: str) -> dict[str, Any]:
    criteria = [{"criterion": text, "points": int(size), "tags": {"verifier": "llm"}}]
    return {"prompt": user(question), "Rubrics": criteria, "ability": "Medical"}


def _dr_tulu(question: str, size: str, title: str, text: str) -> dict[str, Any]:
    rubrics = [{"title": title, "description": text, "weight": float(size)}]
    return {
        "messages": user(question),
        "ground_truth": json.dumps({"query": question, "rubrics": rubrics}),
    }


def _research(question: str, size: str, axis: str, text: str) -> dict[str, Any]:
    criteria = [{"criterion": text, "weight": float(size), "axis": axis}]
    return {"prompt": question, "sample_id": question, "rubrics": criteria}


def _prbench(question: str, size: str, label: str, text: str) -> dict[str, Any]:
    weight = f"{label.replace(' ', '_')}_weight"
    notes = {"weight_class": label, weight: int(size), "criteria_category": "Practical Utility"}
    return {
        "task": question,
        "prompt_0": question,
        "rubric": [{"id": "c", "title": text, "annotations": notes}],
    }


def _checklist(question: str, size: str, _: str, text: str) -> dict[str, Any]:
    return {"prompt": question, "requirements": f"1) {text} (importance: {size}/100)"}


def _open(question: str, mark: str, _: str, text: str) -> dict[str, Any]:
    return {"instruction": question, "rubric": f"1. {text} [{mark}]"}


def _nemo(question: str, passes: str, _: str, text: str) -> dict[str, Any]:
    return {
        "responses_create_params": {"input": user(question)},
        "rubric": [{"question": text, "pass_criteria": passes}],
    }


ROWS: dict[str, Callable[[str, str, str, str], dict[str, Any]]] = {
    "healthbench_professional": _professional,
    "rubrichub": _rubrichub,
    "dr_tulu": _dr_tulu,
    "research_rubrics": _research,
    "prbench": _prbench,
    "wildchecklists": _checklist,
    "openrubrics": _open,
    "nemo_gym": _nemo,
}
"""Makers of a row with one criterion: (question, size, title or class, text)."""
