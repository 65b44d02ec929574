"""`tidegate deploy-guard`: nothing moves the endpoint between begin and end, and nothing stays behind."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.model import OverrideAction
from core.overrides import in_force
from simulator.service import ServiceError
from tests.desk import NAMED, Desk, by_hand, desk, document

ORDERS = "endpoint/orders/variant/AllTraffic"
BEGIN = ("deploy-guard", "begin", "orders", "--for", "90m")
END = ("deploy-guard", "end", "orders")


@pytest.fixture
def enrolled() -> Iterator[Desk]:
    with desk() as made:
        made.in_force.content = json.dumps(document({"name": "orders"}, min_capacity=1)).encode()
        made.stack.invoke("FleetSync", {"trigger": "policy"})
        made.minutes(11)  # past the stabilization of a target that is new
        made.meanwhile = 1
        yield made


def load(at: Desk, requests: int) -> None:
    workload: Any = at.account.endpoint("orders").first.workload
    workload.per_minute_requests[workload.minute :] = [requests] * 2000


def bounds(at: Desk) -> tuple[int, int]:
    found: tuple[int, int] = at.account.snapshot("orders")["bounds"]
    return found


def status(at: Desk) -> tuple[str, int]:
    seen = at.account.client("sagemaker").describe_endpoint(EndpointName="orders")
    return seen["EndpointStatus"], seen["ProductionVariants"][0]["CurrentInstanceCount"]


def test_nothing_scales_in_and_tidegate_writes_nothing_until_the_end(enrolled: Desk) -> None:
    running = status(enrolled)[1]
    result = enrolled.run(*BEGIN)
    assert result.exit_code == 0, result.stderr
    until = enrolled.account.now + timedelta(minutes=90)
    assert f"orders is at rest and held until {until:%Y-%m-%dT%H:%MZ}." in result.stdout
    load(enrolled, 0)
    held = bounds(enrolled)
    enrolled.minutes(15)
    assert (bounds(enrolled), status(enrolled)) == (held, ("InService", running))
    assert held[0] == running
    done = enrolled.run(*END)
    assert f"{ORDERS}: changed, 1..8" in done.stdout
    enrolled.minutes(2)
    assert status(enrolled) == ("InService", 1)


def test_what_is_held_stays_to_the_end_whatever_was_to_expire_before(enrolled: Desk) -> None:
    """The expiry of a floor that load had raised stood already, 38 minutes ahead: it would fall within the hour."""
    load(enrolled, 2000)
    enrolled.minutes(25)
    enrolled.run("deploy-guard", "begin", "orders", "--for", "60m")
    load(enrolled, 0)
    held, seen = bounds(enrolled), status(enrolled)
    enrolled.minutes(58)
    assert (bounds(enrolled), status(enrolled)) == (held, seen)
    enrolled.minutes(5)
    assert bounds(enrolled) == (1, 8)


def test_a_deployment_that_resets_the_count_is_repaired_at_the_end(enrolled: Desk) -> None:
    enrolled.in_force.content = json.dumps(document({"name": "orders"})).encode()  # two at least
    enrolled.run(*BEGIN)
    enrolled.account.deploy("orders", 1)
    while status(enrolled)[0] != "InService":
        enrolled.minutes(1)
    assert (status(enrolled), bounds(enrolled)) == (("InService", 1), (2, 8))  # held: nobody repairs it
    assert f"{ORDERS}: changed" in enrolled.run(*END).stdout
    assert status(enrolled)[0] == "Updating"  # AAS orders what the floor wants


def test_begin_waits_until_a_change_of_aas_is_over(enrolled: Desk) -> None:
    load(enrolled, 2400)
    while status(enrolled)[0] == "InService":
        enrolled.minutes(1)
    with pytest.raises(ServiceError, match="Cannot update in-progress endpoint"):
        enrolled.account.deploy("orders", 4)
    result = enrolled.run(*BEGIN)
    assert result.exit_code == 0, result.stderr
    assert "waiting until it is at rest" in result.stderr
    enrolled.account.deploy("orders", 4)  # SageMaker takes it


def test_begin_twice_holds_once_and_end_twice_lifts_once(enrolled: Desk) -> None:
    first, second = enrolled.run(*BEGIN, "--id", "build-7"), enrolled.run(*BEGIN, "--id", "build-8")
    assert first.stdout == second.stdout
    sent = [event for function, event in enrolled.invoked if function == "Override"]
    asked = [event["request_id"] for event in sent if not event.get("dry_run")]
    assert [(name.split(":")[1], name.split(":")[-1]) for name in asked] == [("build-7", "floor"), ("build-7", "pause")]
    assert enrolled.run(*END).stdout.startswith(ORDERS)
    assert "Nothing holds orders." in enrolled.run(*END).stderr


def test_what_a_run_that_died_left_is_no_hold_for_the_next(enrolled: Desk) -> None:
    enrolled.run("deploy-guard", "begin", "orders", "--for", "10m", "--id", "first")
    enrolled.minutes(8)
    result = enrolled.run(*BEGIN, "--id", "second")
    until = enrolled.account.now + timedelta(minutes=90)
    assert f"held until {until:%Y-%m-%dT%H:%MZ}." in result.stdout, result.stderr
    load(enrolled, 0)
    held, running = bounds(enrolled), status(enrolled)
    enrolled.minutes(20)
    assert (bounds(enrolled), status(enrolled)) == (held, running)
    enrolled.run(*END)
    enrolled.minutes(2)
    assert status(enrolled) == ("InService", 1)


def test_a_run_that_is_run_again_is_held_again(enrolled: Desk) -> None:
    """With the ID of the first attempt, as pipelines have it, whose hold was lifted or has ended."""
    enrolled.run(*BEGIN, "--id", "build-7")
    enrolled.run(*END)
    enrolled.minutes(5)
    until = enrolled.account.now + timedelta(minutes=90)
    again = enrolled.run(*BEGIN, "--id", "build-7")
    assert f"held until {until:%Y-%m-%dT%H:%MZ}." in again.stdout, again.stderr


def test_a_hold_that_lacks_its_pause_is_completed(enrolled: Desk) -> None:
    """The run died between floor and pause."""
    enrolled.run(*BEGIN, "--id", "build-7")
    store = enrolled.stack.store
    [pause] = [each for each in store.overrides() if each.action is OverrideAction.PAUSE]
    store.tell_override(replace(pause, expires_at=enrolled.account.now))
    enrolled.minutes(1)
    result = enrolled.run(*BEGIN, "--id", "build-7")
    assert result.exit_code == 0, result.stderr
    assert in_force(store.overrides(), enrolled.account.now)[0].action is OverrideAction.PAUSE


def test_it_ends_by_itself(enrolled: Desk) -> None:
    enrolled.run("deploy-guard", "begin", "orders", "--for", "10m")
    load(enrolled, 0)
    enrolled.minutes(22)
    assert (bounds(enrolled), status(enrolled)[1]) == ((1, 8), 1)


def test_somebody_elses_override_is_not_ended_unasked(enrolled: Desk) -> None:
    request = {"request_id": "mail", "action": "floor", "target": "orders", "capacity": 4, "duration": "3h"}
    enrolled.stack.invoke("Override", {**request, "reason": "campaign mail", "requested_by": "maria"})
    refused = enrolled.run(*BEGIN)
    assert (refused.exit_code, enrolled.invoked) == (2, [])
    assert "is held already (mail by maria: campaign mail)" in refused.stderr
    assert enrolled.run(*BEGIN, "--force").exit_code == 0


def test_another_instance_type_needs_the_target_deregistered_and_end_registers_it_again(enrolled: Desk) -> None:
    result = enrolled.run(*BEGIN, "--deregister")
    assert result.exit_code == 0, result.stderr
    assert enrolled.account.snapshot("orders") == {}
    enrolled.stack.invoke("FleetSync", {"trigger": "schedule"})
    assert enrolled.account.snapshot("orders") == {}  # held: the hourly pass leaves it
    done = enrolled.run(*END)
    assert done.exit_code == 0, done.stderr
    assert f"{ORDERS}: changed" in done.stdout
    assert "tidegate-prod-saturation" in enrolled.account.snapshot("orders")["policies"]


def test_what_others_made_is_not_deregistered(enrolled: Desk) -> None:
    by_hand(enrolled.account, "chat")
    enrolled.in_force.content = json.dumps(document({"name": "orders"}, {"name": "chat"})).encode()
    enrolled.stack.invoke("FleetSync", {"trigger": "policy"})
    result = enrolled.run("deploy-guard", "begin", "chat", "--deregister")
    assert result.exit_code == 2
    assert "--deregister would delete what others made (chat-" in result.stderr
    assert enrolled.account.snapshot("chat")["bounds"] == (1, 6)


REFUSED = [
    (("--for", "soon"), "--for = 'soon': must be a duration such as 90s, 15m, 4h or 1h30m"),
    (("--for", "90d"), "--for = '90d': must be after now (2026-11-18T09:11Z) and at most 14d ahead"),
    (("--id", "run 7", "--reason", ""), "--reason = '': must have at least 3 characters"),
    (("--id", "run 7"), "--id = 'run 7': must match pattern"),
]


@pytest.mark.parametrize(("more", "said"), REFUSED)
def test_what_cannot_be_asked_is_refused_as_it_was_typed_and_before_anybody_waits(
    enrolled: Desk, more: tuple[str, ...], said: str
) -> None:
    load(enrolled, 2400)
    enrolled.meanwhile = 0
    while status(enrolled)[0] == "InService":
        enrolled.minutes(1)
    result = enrolled.run("deploy-guard", "begin", "orders", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said.replace("09:11Z", f"{enrolled.account.now:%H:%MZ}") in result.stderr
    assert "waiting" not in result.stderr
    assert enrolled.stack.store.overrides() == ()


def test_what_does_not_come_to_rest_is_told_in_words_and_once(enrolled: Desk) -> None:
    load(enrolled, 2400)
    enrolled.meanwhile = 0
    while status(enrolled)[0] == "InService":
        enrolled.minutes(1)
    current, desired = status(enrolled)[1], enrolled.account.snapshot("orders")["bounds"][0]
    result = enrolled.run(*BEGIN)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{ORDERS}: Updating, {current} of {desired} instances; waiting until it is at rest.",
        f"error: {ORDERS} does not come to rest: Updating, {current} of {desired} instances",
    ]


@pytest.mark.parametrize("more", [(), ("--deregister",), ("--force", "--json")])
def test_a_mistyped_endpoint_does_not_deploy_unguarded(enrolled: Desk, more: tuple[str, ...]) -> None:
    result = enrolled.run("deploy-guard", "begin", "order", *more)
    assert (result.exit_code, result.stdout, enrolled.invoked) == (2, "", [])
    assert "refused: order: nothing of it is enrolled; did you mean orders? (--if-enrolled " in result.stderr


def test_what_nobody_scales_may_be_deployed_without_a_hold_where_the_pipeline_says_so(enrolled: Desk) -> None:
    begin = ("deploy-guard", "begin", "search", "--if-enrolled")
    result, told = enrolled.run(*begin, "--json"), enrolled.run(*begin)
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"endpoint": "search", "targets": [], "until": None})
    assert (told.exit_code, told.stderr) == (
        0,
        "Nothing is held. search: nothing of it is enrolled; there are orders\n",
    )
    assert enrolled.run(*BEGIN, "--if-enrolled").stdout.startswith("orders is at rest and held")


def test_the_end_of_a_run_fails_for_no_name_and_says_which_are_enrolled(enrolled: Desk) -> None:
    result = enrolled.run("deploy-guard", "end", "order")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "order: nothing of it is enrolled; did you mean orders?" in result.stderr


def test_the_end_registers_again_what_a_guard_that_ended_before_left_deregistered(enrolled: Desk) -> None:
    """The deployment took longer than `--for`: the hourly pass was held, and the next may be an hour away."""
    enrolled.run("deploy-guard", "begin", "orders", "--for", "10m", "--deregister")
    enrolled.minutes(12)
    assert enrolled.account.snapshot("orders") == {}
    done = enrolled.run(*END)
    assert done.exit_code == 0, done.stderr
    assert f"{ORDERS}: changed" in done.stdout
    assert "tidegate-prod-saturation" in enrolled.account.snapshot("orders")["policies"]


def test_what_somebody_suspended_is_not_deregistered(enrolled: Desk) -> None:
    """What is registered anew is not suspended."""
    suspended = {"DynamicScalingInSuspended": True}
    aas: Any = enrolled.account.client("application-autoscaling")
    aas.register_scalable_target(**NAMED, ResourceId=ORDERS, SuspendedState=suspended)
    result = enrolled.run(*BEGIN, "--deregister")
    assert (result.exit_code, enrolled.invoked) == (2, [])
    assert "--deregister would end what is suspended (DynamicScalingIn): resume it first" in result.stderr
