"""The policy document or the table is away, broken, lost or old while a pass runs; `make chaos` tries every moment."""

import pytest

from core.plan import expiry_name
from tests.chaos.check import HOURLY, differences
from tests.chaos.disasters import DISASTERS, Disaster
from tests.chaos.passes import Build, invoke, look
from tests.chaos.story import TARGETS, Moment, moments, replayed
from tests.chaos.unsafe import Forgetful, strict, with_parts
from tests.rights import STAGE

NAMED = {disaster.name: disaster for disaster in DISASTERS}


def first(function: str, after: str = "08:40") -> Moment:
    """The first kept pass of a function from that time on."""
    return next(m for m in moments() if m.function == function and m.name >= after)


LOWERED, RAISED = "08:57", "09:47"
"""Latency has lowered the request target of `ranks`, and a forecast has raised what is left."""


@pytest.mark.parametrize("disaster", DISASTERS, ids=lambda d: d.name)
def test_what_stands_stays_and_the_fleet_recovers(disaster: Disaster) -> None:
    assert list(disaster.problems(first("RealtimeTarget", RAISED))) == []


def test_what_somebody_deleted_by_hand_stands_again_after_the_next_pass_of_fleet_sync() -> None:
    """Every expiry and every alarm of target tracking, in the middle of the morning: as where nobody was."""
    moment = first("AsyncQueue", "09:05")  # no endpoint is under change
    untouched = replayed(moment)
    assert invoke(untouched, "FleetSync", HOURLY).error is None
    wanted, names = look(untouched, TARGETS), set(untouched.account.cloudwatch.alarms)
    cloud = replayed(moment)
    account, alarms = cloud.account, cloud.account.cloudwatch.alarms
    for name in [name for name in alarms if name.startswith("TargetTracking-")]:
        del alarms[name]
    deleted = [target.actions.pop(expiry_name(STAGE), None) for target in account.autoscaling.targets.values()]
    assert len(deleted) - deleted.count(None) == 5
    assert not names <= set(alarms)
    assert invoke(cloud, "FleetSync", HOURLY).error is None
    assert list(differences(look(cloud, TARGETS), wanted)) == []
    assert set(alarms) == names


def test_an_owner_does_its_work_by_the_copy() -> None:
    for each in (first("AsyncQueue"), first("BatchWindow", "09:00")):
        assert list(NAMED["document unreachable"].problems(each)) == []


@pytest.mark.parametrize(
    ("name", "when", "build", "problem"),
    [
        ("table lost", LOWERED, with_parts(Forgetful), "lowers"),
        ("document unreachable", "08:40", with_parts(policies=strict), "stays in force"),
    ],
)
def test_an_unsafe_change_is_caught(name: str, when: str, build: Build, problem: str) -> None:
    assert any(f": {problem}: " in each for each in NAMED[name].problems(first("RealtimeTarget", when), build))
