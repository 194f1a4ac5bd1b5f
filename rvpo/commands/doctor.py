"""`rvpo doctor`: this machine, examined."""

from __future__ import annotations

from rvpo.plan.machine import diagnose, display, examine


def check_machine() -> bool:
    """Print what a run would find on this machine; whether one can start."""
    findings = diagnose(examine())
    display(findings)
    return all(finding.state != "missing" for finding in findings)
