"""Everything a user could choose beside Tidegate, each after its public rule, played on the same cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.baselines import aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.cases import Case, Course

POLICIES: dict[str, Callable[[Case, str], Course]] = {"aas-target-tracking": aws.target_tracking}


def run(policy: str, knob: str, case: Case) -> Course:
    """Play one baseline with one position of its knob; raises KeyError for a policy that is not in POLICIES."""
    return POLICIES[policy](case, knob)
