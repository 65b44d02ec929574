"""`tidegate release`: exactly what was there, or native scaling, by choice."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import TypeAdapter

from cli.releasing import as_scheduled
from core.model import Envelope, Mode, ScalableTarget
from core.ports import Original, ScheduledAction
from tests.desk import NAMED, Desk, by_hand, desk, document

ADOPTED = {"name": "orders", "adopt": True}
ORDERS = "endpoint/orders/variant/AllTraffic"
ONE_MORE = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
OURS = ["tidegate-prod-saturation", "tidegate-prod-track-requests_per_instance"]


@pytest.fixture
def active() -> Iterator[Desk]:
    with desk() as made:
        yield made


def adopted(at: Desk, *more: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Adopt `orders`, scaled by hand; what stood before, and the alarm that called its step policy."""
    before = dict(by_hand(at.account, "orders"))
    alarm = called(at)
    at.in_force.content = json.dumps(document(ADOPTED, *more)).encode()
    at.stack.invoke("FleetSync", {"trigger": "policy"})
    assert sorted(at.account.snapshot("orders")["policies"]) == OURS
    return before, alarm


def called(at: Desk) -> dict[str, Any]:
    return dict(at.account.client("cloudwatch").describe_alarms(AlarmNames=["orders-cpu-high"])["MetricAlarms"][0])


def bare(alarm: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in alarm.items() if "Updated" not in key and not key.startswith("State")}


def test_gives_back_bounds_policies_scheduled_actions_and_what_the_alarm_called(active: Desk) -> None:
    before, alarm = adopted(active)
    assert called(active)["AlarmActions"] == []  # AWS removes the action with the policy
    result = active.run("release", "orders", "--yes")
    assert result.exit_code == 0, result.stderr
    assert active.account.snapshot("orders") == before
    assert bare(called(active)) == bare(alarm)
    assert f"{ORDERS}: released, stands exactly as it stood before." in result.stdout
    assert json.loads(active.in_force.content)["endpoints"] == []


def test_a_dry_run_says_what_would_be_restored_and_changes_nothing(active: Desk) -> None:
    adopted(active)
    stands = active.account.snapshot("orders")
    result = active.run("release", "orders", "--dry-run")
    assert (result.exit_code, active.account.snapshot("orders"), active.versions) == (0, stands, [])
    said = [line.strip() for line in result.stdout.splitlines()]
    assert said[0] == f"{ORDERS}:"
    assert said[-5:] == [
        "set bounds to 1..6 (release)",
        "put policy orders-cpu-out",
        "put policy orders-invocations",
        "put scheduled action orders-night",
        "alarm orders-cpu-high calls orders-cpu-out again: AWS took that from it when the policy was replaced",
    ]


def test_an_alarm_goes_on_calling_the_policy_of_that_name_on_another_endpoint(active: Desk) -> None:
    by_hand(active.account, "orders")
    there: Any = {**NAMED, "ResourceId": "endpoint/chat/variant/AllTraffic"}
    aas, cloudwatch = active.account.client("application-autoscaling"), active.account.client("cloudwatch")
    aas.register_scalable_target(**there, MinCapacity=1, MaxCapacity=4)
    steps: Any = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [ONE_MORE]}
    step: Any = {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": steps}
    other = aas.put_scaling_policy(**there, PolicyName="orders-cpu-out", **step)["PolicyARN"]
    actions = [*called(active)["AlarmActions"], other]
    shared: Any = {**bare(called(active)), "AlarmActions": actions}
    del shared["AlarmArn"]
    cloudwatch.put_metric_alarm(**shared)
    active.in_force.content = json.dumps(document(ADOPTED)).encode()
    active.stack.invoke("FleetSync", {"trigger": "policy"})
    assert called(active)["AlarmActions"] == [other]
    assert active.run("release", "orders", "--yes").exit_code == 0
    assert sorted(called(active)["AlarmActions"]) == sorted(actions)


NIGHT = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)  # a Wednesday
NOON = NIGHT + timedelta(hours=10)


def at(name: str, schedule: str, low: int | None, high: int | None, **more: Any) -> ScheduledAction:
    bounds = {"MinCapacity": low, "MaxCapacity": high}
    kept = {key: value for key, value in bounds.items() if value is not None}
    return ScheduledAction(name, {"Schedule": schedule, "ScalableTargetAction": kept, **more})


SCHEDULED = [
    # adopted at 2:00 within 1..2; released at 12:00 within
    ([at("day", "cron(0 7 * * ? *)", 5, 8), at("night", "cron(0 22 * * ? *)", 1, 2)], (5, 8)),
    ([at("a", "cron(0 7 * * ? *)", 5, 8), at("b", "cron(0 9 * * ? *)", 6, None)], (6, 8)),  # the newest of each bound
    ([at("day", "cron(0 13 * * ? *)", 5, 8)], (1, 2)),  # not yet
    ([at("before", "cron(0 1 * * ? *)", 5, 8)], (1, 2)),  # an hour before adoption: somebody set other bounds since
    ([at("berlin", "cron(0 13 * * ? *)", 5, 8, Timezone="Europe/Berlin")], (5, 8)),  # 12:00 in UTC, this very minute
    ([at("berlin", "cron(1 13 * * ? *)", 5, 8, Timezone="Europe/Berlin")], (1, 2)),
    ([at("once", "at(2026-11-18T06:00:00)", 4, 4)], (4, 4)),  # it stays in force, though it never runs again
    ([at("ended", "cron(0 7 * * ? *)", 5, 8, EndTime=NIGHT)], (1, 2)),
    ([at("begun", "rate(1 day)", 3, 9, StartTime=NIGHT + timedelta(hours=1))], (3, 9)),
    ([at("refused", "cron(0 7 * * ? *)", 5, None)], (1, 2)),  # 5..2 is none
    ([at("odd", "cron(0 7 LW * ? *)", 5, 8)], (1, 2)),  # not understood
    ([], (1, 2)),
]


@pytest.mark.parametrize(("actions", "bounds"), SCHEDULED)
def test_bounds_are_those_that_scheduled_actions_would_have_set_by_now(
    actions: list[ScheduledAction], bounds: tuple[int, int]
) -> None:
    saved = Original(envelope=Envelope(1, 2), scheduled_actions=(*actions,))
    assert as_scheduled(saved, NIGHT, NOON) == replace(saved, envelope=Envelope(*bounds))


def test_what_was_adopted_at_night_is_not_cut_to_the_nights_ceiling_by_day(active: Desk) -> None:
    """It took six of eight instances away at once, at full load, until the next morning's scheduled action."""
    here: Any = {**NAMED, "ResourceId": ORDERS}
    aas = active.account.client("application-autoscaling")
    aas.register_scalable_target(**here, MinCapacity=1, MaxCapacity=6)
    for name, schedule, low, high in (("night", "cron(30 9 * * ? *)", 1, 2), ("day", "cron(30 11 * * ? *)", 5, 8)):
        bounds: Any = {"MinCapacity": low, "MaxCapacity": high}
        aas.put_scheduled_action(**here, ScheduledActionName=name, Schedule=schedule, ScalableTargetAction=bounds)
    active.minutes(60)
    assert (active.account.now.hour, active.account.snapshot("orders")["bounds"]) == (10, (1, 2))
    active.in_force.content = json.dumps(document(ADOPTED, min_capacity=5)).encode()
    active.stack.invoke("FleetSync", {"trigger": "policy"})
    active.minutes(120)
    result = active.run("release", "orders", "--yes")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert active.account.snapshot("orders")["bounds"] == (5, 8)
    assert "Bounds are those its scheduled actions would have set by now; 1..2 were saved." in result.stdout
    assert f"{ORDERS}: released, stands as it stood before, within 5..8." in result.stdout


def second_alarm(at: Desk) -> None:
    """One more step policy, called by an alarm of its own."""
    here: Any = {**NAMED, "ResourceId": ORDERS}
    steps: Any = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [ONE_MORE]}
    step: Any = {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": steps}
    arn = at.account.client("application-autoscaling").put_scaling_policy(**here, PolicyName="orders-mem-out", **step)
    shaped: Any = {**bare(called(at)), "AlarmName": "orders-mem-high", "AlarmActions": [arn["PolicyARN"]]}
    del shaped["AlarmArn"]
    at.account.client("cloudwatch").put_metric_alarm(**shaped)


@pytest.mark.parametrize("operation", ["PutMetricAlarm", "DescribeAlarms"])
@pytest.mark.parametrize(("throttled", "status", "calls"), [(1, 0, [1, 1]), (3, 0, [1, 1]), (6, 1, [0, 0])])
def test_an_alarm_is_given_its_action_back_although_cloudwatch_is_busy(
    active: Desk, operation: str, throttled: int, status: int, calls: list[int]
) -> None:
    """The first throttled call left all alarms calling nothing, and a second `release` knew of no such target.

    Two alarms, tried three times each: six failures in a row use all of them up.
    """
    by_hand(active.account, "orders")
    second_alarm(active)
    active.in_force.content = json.dumps(document(ADOPTED)).encode()
    active.stack.invoke("FleetSync", {"trigger": "policy"})
    names = ["orders-cpu-high", "orders-mem-high"]
    cloudwatch: Any = active.account.client("cloudwatch")
    answered = active.account.call

    def busy_afterwards(service: str, name: str, params: Any) -> Any:
        """Only the command's own calls are struck: the target has been released by then."""
        nonlocal throttled
        if throttled and name == operation and not active.account.caller and not active.in_force.table.roster():
            throttled -= 1
            active.account.fail_next(service, name, "ThrottlingException", "Rate exceeded")
        return answered(service, name, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active.account, "call", busy_afterwards)
        result = active.run("release", "orders", "--yes")
    described = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert (result.exit_code, [len(alarm["AlarmActions"]) for alarm in described]) == (status, calls), result.stderr
    by_hand_now = [f"alarm {name} does not call" in result.stderr for name in names]
    assert by_hand_now == [not each for each in calls]
    told = [f"is not called by {name} any more" in result.stdout for name in names]
    assert told == by_hand_now


def test_keep_native_leaves_the_native_policies_within_the_policys_own_bounds(active: Desk) -> None:
    adopted(active)
    request = {"request_id": "r", "action": "floor", "target": "orders", "capacity": 5, "duration": "1h"}
    active.stack.invoke("Override", {**request, "reason": "a test", "requested_by": "me"})
    assert active.account.snapshot("orders")["bounds"] == (5, 8)
    result = active.run("release", "orders", "--keep-native", "--yes")
    assert result.exit_code == 0, result.stderr
    stands = active.account.snapshot("orders")
    assert (stands["bounds"], sorted(stands["policies"]), stands["scheduled_actions"]) == ((2, 8), OURS, {})
    assert f"{ORDERS}: released, scales natively." in result.stdout


@pytest.mark.parametrize("states", [None, ["DEPLOYING", "ROLLED_BACK"]])
def test_a_delivery_that_fails_leaves_the_way_back(active: Desk, states: list[str] | None) -> None:
    before, _ = adopted(active)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active, "states", states or active.states)
        if states is None:
            patch.setattr(active, "start_deployment", busy, raising=False)
        result = active.run("release", "orders", "--keep-native", "--yes")
        assert result.exit_code == 1, result.stdout
    assert active.run("release", "orders", "--yes").exit_code == 0
    assert active.account.snapshot("orders") == before


def busy(**_: object) -> None:
    raise ClientError({"Error": {"Code": "ConflictException", "Message": "busy"}}, "StartDeployment")


def test_a_lost_record_is_not_told_as_given_back(active: Desk) -> None:
    adopted(active)
    target = ScalableTarget.variant("orders", "AllTraffic")
    found = active.in_force.table.original(target)
    assert found is not None
    lost = TypeAdapter(Original).dump_json(replace(found, policies=(), scheduled_actions=(), known=False)).decode()
    active.dynamodb.update_item(
        TableName=active.table,
        Key={"pk": {"S": f"TARGET#{ORDERS}#{target.dimension.value}"}, "sk": {"S": "ORIGINAL"}},
        UpdateExpression="SET body = :body",
        ExpressionAttributeValues={":body": {"S": lost}},
    )
    result = active.run("release", "orders", "--yes")
    assert f"{ORDERS}: released, scales natively." in result.stdout
    assert "stands exactly" not in result.stdout


def test_other_endpoints_stay(active: Desk) -> None:
    adopted(active, {"name": "chat"})
    active.run("release", "orders", "--yes")
    assert active.account.snapshot("chat")["bounds"] == (2, 8)
    assert [entry["name"] for entry in json.loads(active.in_force.content)["endpoints"]] == ["chat"]


def test_all_is_for_those_who_remove_the_stack(active: Desk) -> None:
    before, _ = adopted(active, {"name": "chat"})
    result = active.run("release", "--all", "--yes")
    assert result.exit_code == 0, result.stderr
    assert (active.account.snapshot("orders"), active.account.snapshot("chat")) == (before, {})
    assert "Nothing is enrolled." in active.run("release", "--all").stderr


def test_what_is_enrolled_by_its_tag_loses_the_tag_and_then_half_an_hour(active: Desk) -> None:
    active.account.endpoint("search").tags["tidegate:profile"] = "p"
    adopted(active)
    assert active.account.snapshot("search")["bounds"] == (2, 8)
    active.meanwhile = 5
    result = active.run("release", "search", "--yes")
    assert result.exit_code == 0, result.stderr
    assert active.account.snapshot("search") == {}
    assert "tidegate:profile" not in active.account.endpoint("search").tags
    assert "Still enrolled: endpoint/search/variant/AllTraffic" in result.stderr


def test_what_is_named_and_tagged_is_not_enrolled_anew_by_its_tag(active: Desk) -> None:
    active.account.endpoint("search").tags["tidegate:profile"] = "p"
    adopted(active, {"name": "search"})
    result = active.run("release", "search", "--yes")
    assert result.exit_code == 0, result.stderr
    assert active.account.snapshot("search") == {}
    assert "endpoint search loses its tag tidegate:profile\n" in result.stdout


def test_of_what_one_tag_enrols_nothing_leaves_unasked(active: Desk) -> None:
    search = active.account.endpoint("search")
    search.tags["tidegate:profile"] = "p"
    adopted(active)
    place = active.in_force.table.roster() or {}
    beside = ScalableTarget.variant("search", "blue")
    own = place[ScalableTarget.variant("search", "AllTraffic")]
    active.in_force.table.put_roster({**place, beside: own})
    result = active.run("release", "search/blue", "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "search is enrolled by its tag, which search would lose too" in result.stderr


def test_what_was_only_watched_stays_as_it_is(active: Desk) -> None:
    before = by_hand(active.account, "orders")
    active.in_force.content = json.dumps(document(ADOPTED, mode="shadow")).encode()
    active.stack.invoke("FleetSync", {"trigger": "policy"})
    result = active.run("release", "orders", "--yes")
    assert (result.exit_code, active.account.snapshot("orders")) == (0, before)
    assert "Nothing was ever replaced: it stays as it is." in result.stdout


def test_what_somebody_changes_meanwhile_is_told(active: Desk) -> None:
    adopted(active)
    active.disturb = lambda: somebody(active)  # while AppConfig watches
    result = active.run("release", "orders", "--yes")
    assert result.exit_code == 1
    assert f"{ORDERS}: bounds are 1..5, were 1..6" in result.stdout


def somebody(at: Desk) -> None:
    here: Any = {**NAMED, "ResourceId": ORDERS}
    at.account.client("application-autoscaling").register_scalable_target(**here, MinCapacity=1, MaxCapacity=5)


def test_a_stack_in_shadow_cannot_put_back_what_it_replaced_when_it_was_active(active: Desk) -> None:
    adopted(active)
    active.mode = Mode.SHADOW
    result = active.run("release", "orders", "--yes")
    assert (result.exit_code, active.versions) == (2, [])
    assert '`sam deploy --stack-name tidegate --parameter-overrides "Stage=prod Mode=active"` first' in result.stderr


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (("chat",), "refused: TARGET = 'chat': no such target; there are orders"),
        ((), "refused: name one TARGET, or --all"),
        (("orders", "--all"), "refused: name one TARGET, or --all"),
    ],
)
def test_what_is_not_enrolled_is_refused(active: Desk, said: tuple[str, ...], why: str) -> None:
    adopted(active)
    result = active.run("release", *said)
    assert (result.exit_code, result.stderr.strip()) == (2, why)


def test_a_scheduled_action_whose_time_has_passed_holds_nothing_up_and_is_told(active: Desk) -> None:
    """AWS may refuse it; then every pass failed on the target, and the release never ended."""
    aas: Any = active.account.client("application-autoscaling")
    bounds = {"MinCapacity": 1, "MaxCapacity": 3}
    before = dict(by_hand(active.account, "orders"))
    once = {"Schedule": "at(2026-11-18T10:18:00)", "Timezone": "Europe/Berlin", "ScalableTargetAction": bounds}
    aas.put_scheduled_action(**NAMED, ResourceId=ORDERS, ScheduledActionName="once", **once)
    active.in_force.content = json.dumps(document(ADOPTED)).encode()
    active.stack.invoke("FleetSync", {"trigger": "policy"})
    active.minutes(5)
    result = active.run("release", "orders", "--yes")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert active.account.snapshot("orders") == {**before, "bounds": (1, 3)}  # as it would have set them
    assert "Scheduled actions whose time has passed are not given back: once." in result.stdout
