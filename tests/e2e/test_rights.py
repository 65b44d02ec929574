"""Least privilege, both ways: what is used is allowed (each test proves that), and what is allowed is used."""

from typing import Any

import pytest

from local_account.account import LocalAccount
from local_account.iam import role_policy
from tests.e2e.conftest import ORDERS, POLICY, QUIET, arrive, bounds, minutes

UNSEEN = {
    "events:PutEvents": "the emulator does not record it; that events arrive is seen in test_overrides.py",
    "iam:PassRole": "the emulator asks for it nowhere",
    "logs:CreateLogStream": "Lambda writes the log with the function's role; the emulator with none",
    "logs:PutLogEvents": "Lambda writes the log with the function's role; the emulator with none",
    "sqs:SendMessage": "Lambda writes dead letters with the function's role; the emulator with none",
}
BY_A_FORECAST = {"scheduler:CreateSchedule", "scheduler:UpdateSchedule"}
"""Used where a forecast raises a target: `test_learning.py` sees that the schedule is there and fires."""

AFTER_A_LOSS = {"scheduler:GetSchedule"}
"""Used when the table was lost, which `make chaos` and the night of `test_permissions.py` let happen."""

REST_NAMES = {  # the emulator's record names REST calls by their verb
    "appconfig:POST.appconfig": "appconfig:StartConfigurationSession",
    "appconfig:GET.appconfig": "appconfig:GetLatestConfiguration",
    "scheduler:POST.scheduler": "scheduler:CreateSchedule",
    "scheduler:PUT.scheduler": "scheduler:UpdateSchedule",
    "scheduler:DELETE.scheduler": "scheduler:DeleteSchedule",
}


def recorded(local: LocalAccount) -> set[tuple[str, str]]:
    """Role and action of each call that a function made to the emulator."""
    used = set()
    for page in local.aws["cloudtrail"].get_paginator("lookup_events").paginate():
        for event in page["Events"]:
            key = event["AccessKeyId"]
            if key.startswith("ASIA"):
                action = f"{event['EventSource'].split('.')[0]}:{event['EventName']}"
                used.add((local.rights.roles[local.rights.function(key)], REST_NAMES.get(action, action)))
    return used


def granted(local: LocalAccount, role: str) -> set[str]:
    """The actions that a role allows."""
    return {action for statement in role_policy(local.aws["iam"], role) for action in statement.actions}


@pytest.fixture
def lived(restored: LocalAccount) -> LocalAccount:
    """A whole life: load and its end, an override, a release, a return."""
    arrive(restored, QUIET, 6000, for_minutes=15)
    minutes(restored, 45)
    restored.invoke(
        "Override",
        {
            "request_id": "e2e-rights",
            "action": "floor",
            "target": ORDERS,
            "capacity": 4,
            "expires_at": f"{restored.account.now.replace(hour=23):%Y-%m-%dT%H:%M:%SZ}",
            "reason": "a test of rights",
            "requested_by": "e2e@example.com",
        },
    )
    kept: list[dict[str, Any]] = [endpoint for endpoint in POLICY["endpoints"] if endpoint["name"] != QUIET]
    restored.push_policy({**POLICY, "endpoints": kept})
    restored.restart_functions()
    restored.invoke("FleetSync", {"trigger": "policy"})
    return restored


def test_every_right_is_used(lived: LocalAccount) -> None:
    assert bounds(lived, QUIET) is None, "released"
    used = {action for _, action in lived.rights.used | recorded(lived)}
    unused = {action for role in lived.deployed.roles.values() for action in granted(lived, role)} - used
    assert unused - BY_A_FORECAST - AFTER_A_LOSS == set(UNSEEN)


def test_every_recorded_call_of_a_function_was_within_its_role(local: LocalAccount) -> None:
    used = local.rights.used | recorded(local)
    allowed = {role: granted(local, role) for role, _ in used}
    for role, action in used:
        assert action in allowed[role], f"{role} used {action}"
    refused = {(call.operation, call.error) for call in local.plant.calls if "AccessDenied" in call.error}
    assert refused == set()
