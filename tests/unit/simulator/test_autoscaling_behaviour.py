"""What Application Auto Scaling does by itself (facts 2): six minutes to scale out, one to scale in, target 100."""

from datetime import timedelta
from typing import Any

import pytest

from simulator.account import SimulatedAccount
from simulator.events import Event
from simulator.metrics import metric_key, sample
from tests.unit.simulator.worlds import (
    DIMENSIONS,
    START,
    VARIANT,
    async_account,
    count,
    feed,
    play,
    put_alarm,
    realtime_account,
    register,
    states,
    step,
    track,
)

OUT_BY_ONE = [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]


def activities(account: SimulatedAccount, *, everything: bool = False) -> list[dict[str, Any]]:
    answer = account.client("application-autoscaling").describe_scaling_activities(
        ServiceNamespace="sagemaker", IncludeNotScaledActivities=everything
    )
    return [dict(activity) for activity in answer["ScalingActivities"]]


def scaled(*, at: int, **options: Any) -> SimulatedAccount:
    """A tracked target (target 100, metric `load`) with `at` instances and wide bounds."""
    account = realtime_account(count=at)
    register(account, 1, 20)
    track(account, **options)
    return account


def test_three_high_minutes_scale_out_proportionally() -> None:
    account = scaled(at=2)
    feed(account, 160.0, minutes=2)
    assert count(account) == (2, 2)
    feed(account, 160.0)
    assert count(account) == (2, 4)  # 2 x 1.6 = 3.2


def test_fifteen_low_minutes_scale_in_proportionally() -> None:
    account = scaled(at=10)
    feed(account, 55.0, minutes=14)
    assert count(account) == (10, 10)
    feed(account, 55.0)
    assert count(account) == (10, 6)  # 5.5


def test_between_90_percent_and_the_target_nothing_moves() -> None:
    account = scaled(at=10)
    feed(account, 91.0, minutes=40)
    assert count(account) == (10, 10)


def test_a_step_back_over_the_target_is_not_taken() -> None:
    account = scaled(at=2)
    feed(account, 55.0, minutes=40)
    assert count(account) == (2, 2)  # one instance would run at 110


def test_the_alarm_repeats_itself_every_minute_while_it_lasts() -> None:
    account = scaled(at=2, ScaleOutCooldown=0)
    feed(account, 150.0, minutes=3)  # 2 to 3, served after six minutes
    events = feed(account, 150.0, minutes=7)
    assert states(events) == []  # no new alarm event ...
    assert count(account) == (3, 5)  # ... and yet a second order: 3 x 1.5


def test_the_same_alarm_does_not_scale_again_during_the_cooldown() -> None:
    # The cooldown of 300 s starts when the instances serve, six minutes after the order.
    account = scaled(at=2)
    feed(account, 150.0, minutes=3 + 7 + 4)
    assert count(account) == (3, 3)
    feed(account, 150.0)
    assert count(account) == (3, 5)


def test_a_larger_scale_out_passes_the_cooldown_and_counts_what_was_added() -> None:
    account = scaled(at=2)
    feed(account, 150.0, minutes=3 + 7)
    assert count(account) == (3, 3)
    feed(account, 240.0)
    assert count(account) == (3, 5)  # 2 x 2.4 from the capacity before, not 3 x 2.4


def test_a_scale_in_cooldown_holds_the_next_scale_in_only() -> None:
    account = scaled(at=10)
    feed(account, 80.0, minutes=15 + 2)
    assert count(account) == (8, 8)
    feed(account, 80.0, minutes=4)
    assert count(account) == (8, 8)
    feed(account, 80.0)
    assert count(account) == (8, 7)  # 300 s after the removal was done


def test_a_scale_out_ends_the_cooldown_of_a_scale_in() -> None:
    account = scaled(at=10, ScaleInCooldown=3600, ScaleOutCooldown=0)
    feed(account, 80.0, minutes=17)
    feed(account, 110.0, minutes=3)
    assert count(account) == (8, 9)
    feed(account, 50.0, minutes=16)
    assert count(account) == (9, 5)  # well inside the hour


def test_scale_in_can_be_disabled() -> None:
    account = scaled(at=10, DisableScaleIn=True)
    feed(account, 10.0, minutes=30)
    assert count(account) == (10, 10)


@pytest.mark.parametrize(
    ("loads", "others", "want"),
    [
        ([150.0] * 3, [50.0] * 3, 6),  # any policy scales out
        ([150.0] * 3, [200.0] * 3, 8),  # the largest wins
        ([50.0] * 15, [95.0] * 15, 4),  # one disagrees
        ([50.0] * 15, [70.0] * 15, 3),  # both agree, the largest wins: max(2, 2.8)
        ([10.0] * 15, [None] * 15, 4),  # one is silent
    ],
)
def test_two_tracking_policies(loads: list[float], others: list[float | None], want: int) -> None:
    account = scaled(at=4)
    track(account, metric="other")
    for load, other in zip(loads, others, strict=True):
        feed_two(account, load, other)
    assert count(account)[1] == want


def feed_two(account: SimulatedAccount, load: float, other: float | None, metric: str = "other") -> list[Event]:
    minute = account.cloudwatch.newest_minute + 1
    if other is not None:
        account.cloudwatch.store.put(metric_key("Test", metric, DIMENSIONS), minute, sample(other))
    return feed(account, load)


def test_a_policy_that_may_not_scale_in_has_no_vote() -> None:
    account = scaled(at=4)
    track(account, metric="other", DisableScaleIn=True)
    for _ in range(15):
        feed_two(account, 50.0, 95.0)
    assert count(account) == (4, 2)


def test_bounds_limit_both_ways() -> None:
    account = scaled(at=4)
    register(account, 3, 5)
    feed(account, 300.0, minutes=3)
    assert count(account) == (4, 5)
    feed(account, 10.0, minutes=25)
    assert count(account) == (3, 3)


def test_nothing_scales_while_the_endpoint_updates_and_that_is_recorded_once() -> None:
    account = scaled(at=4)
    account.deploy("ranker", 4)
    feed(account, 200.0, minutes=6)
    assert count(account) == (4, 4)
    assert activities(account) == []
    refused = activities(account, everything=True)
    assert [activity["NotScaledReasons"] for activity in refused] == [
        [{"Code": "TargetServicePutResourceAsUnscalable"}]
    ]
    assert refused[0]["Description"] == "Attempting to scale due to alarm triggered"
    feed(account, 200.0)
    assert count(account) == (4, 8)


def test_at_maximum_the_reason_is_recorded_with_its_numbers() -> None:
    account = scaled(at=4)
    register(account, 1, 4)
    feed(account, 200.0, minutes=9)
    wanted = [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 4, "CurrentCapacity": 4}]
    assert [activity["NotScaledReasons"] for activity in activities(account, everything=True)] == [wanted]


def test_activity_texts() -> None:
    account = scaled(at=2)
    feed(account, 150.0, minutes=3)
    pending = activities(account)[0]
    assert (pending["StatusCode"], pending["Description"]) == ("InProgress", "Setting desired instance count to 3.")
    assert pending["Cause"].startswith("monitor alarm TargetTracking-endpoint/ranker/variant/AllTraffic-AlarmHigh-")
    assert pending["Cause"].endswith(" in state ALARM triggered policy load")
    play(account, 7)
    done = activities(account)[0]
    assert done["StatusCode"] == "Successful"
    assert done["StatusMessage"] == (
        "Successfully set desired instance count to 3. Change successfully fulfilled by sagemaker."
    )
    assert done["EndTime"] - done["StartTime"] == timedelta(minutes=7)


def test_a_refused_order_fails_and_starts_no_cooldown() -> None:
    account = realtime_account(count=2, instance_quota=2)
    register(account)
    track(account)
    feed(account, 150.0, minutes=4)
    failed = activities(account)
    assert [activity["StatusCode"] for activity in failed] == ["Failed", "Failed"]
    assert "for endpoint usage" in failed[0]["StatusMessage"]
    account.endpoint("ranker").instance_quota = 20
    feed(account, 150.0)
    assert count(account) == (2, 3)


def test_scaled_to_max_sends_the_only_event_of_the_service() -> None:
    account = scaled(at=4)
    register(account, 1, 6)
    events = feed(account, 300.0, minutes=10)
    sent = [event for event in events if event["source"] == "aws.application-autoscaling"]
    assert [event["detail-type"] for event in sent] == ["Application Auto Scaling Scaling Activity State Change"]
    detail = sent[0]["detail"]
    assert (detail["oldDesiredCapacity"], detail["newDesiredCapacity"], detail["scaledToMax"]) == (4, 6, True)


# ---- step policies ---------------------------------------------------------------------------------------------------


def test_a_step_policy_acts_on_the_alarm_that_names_it() -> None:
    account = realtime_account(count=2)
    register(account)
    step(
        account,
        [{**OUT_BY_ONE[0], "MetricIntervalUpperBound": 50}, {"MetricIntervalLowerBound": 50, "ScalingAdjustment": 3}],
    )
    feed(account, 150.0, "steps")
    assert count(account) == (2, 5)


def test_an_alarm_action_may_carry_a_suffix_behind_the_policy() -> None:
    account = realtime_account(count=2)
    register(account)
    step(account, OUT_BY_ONE)
    arn = account.client("cloudwatch").describe_alarms()["MetricAlarms"][0]["AlarmActions"][0]
    put_alarm(account, "step", metric="steps", AlarmActions=[f"{arn}:createdBy/somebody"])
    feed(account, 150.0, "steps")
    assert count(account) == (2, 3)


@pytest.mark.parametrize("options", [{"ActionsEnabled": False}, {"AlarmActions": ["arn:aws:autoscaling:other"]}])
def test_an_alarm_that_does_not_call_the_policy_moves_nothing(options: dict[str, Any]) -> None:
    account = realtime_account(count=2)
    register(account)
    step(account, OUT_BY_ONE)
    arn = account.client("cloudwatch").describe_alarms()["MetricAlarms"][0]["AlarmActions"]
    put_alarm(account, "step", metric="steps", **{"AlarmActions": arn, **options})
    feed(account, 150.0, "steps", minutes=3)
    assert count(account) == (2, 2)


def test_a_more_aggressive_step_during_the_cooldown_adds_only_the_difference() -> None:
    # AWS's own example: +2 first, then +3 during the cooldown adds 1.
    account = realtime_account(count=2)
    register(account)
    two = {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 50, "ScalingAdjustment": 2}
    step(account, [two, {"MetricIntervalLowerBound": 50, "ScalingAdjustment": 3}])
    feed(account, 110.0, "steps", minutes=8)
    assert count(account) == (4, 4)
    feed(account, 160.0, "steps")
    assert count(account) == (4, 5)


def test_a_step_scale_in_asks_no_tracking_policy() -> None:
    account = scaled(at=4)
    step(account, [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}], operator="LessThanThreshold")
    feed_two(account, 95.0, 10.0, "steps")
    assert count(account) == (4, 3)


def test_idle_asynchronous_endpoint_goes_to_zero_and_wakes_by_step_policies() -> None:
    # Idle from the start; two requests come in minute 10.
    account = async_account([0] * 10 + [2], [0.0] * 10 + [60.0], count=1)
    register(account, 0, 5)
    dimensions = [{"Name": "EndpointName", "Value": "ranker"}]
    aws: dict[str, Any] = {"Namespace": "AWS/SageMaker", "Dimensions": dimensions}
    zero = [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": 0}]
    step(
        account, zero, name="idle", metric="none", operator="LessThanOrEqualToThreshold", AdjustmentType="ExactCapacity"
    )
    step(account, OUT_BY_ONE, name="wake", metric="none")
    arns = {a["AlarmName"]: a["AlarmActions"] for a in account.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    put_alarm(
        account,
        "idle",
        metric="ApproximateBacklogSize",
        operator="LessThanOrEqualToThreshold",
        **{**aws, "Threshold": 0.0, "EvaluationPeriods": 5, "AlarmActions": arns["idle"]},
    )
    put_alarm(
        account,
        "wake",
        metric="HasBacklogWithoutCapacity",
        operator="GreaterThanOrEqualToThreshold",
        **{**aws, "Threshold": 1.0, "EvaluationPeriods": 2, "AlarmActions": arns["wake"]},
    )
    play(account, 7)  # five idle minutes, readable two later
    assert count(account) == (1, 0)
    play(account, 3)
    assert count(account) == (0, 0)
    play(account, 4)  # minutes 10 and 11 strand, readable two later
    assert count(account) == (0, 1)
    play(account, 7)
    workload = account.endpoint("ranker").workload
    assert workload.history.backlog[-1] == 0
    assert workload.history.ready[-1] == 1


# ---- scheduled actions and suspension --------------------------------------------------------------------------------


def schedule(account: SimulatedAccount, expression: str, bounds: dict[str, int], **more: Any) -> None:
    action: dict[str, Any] = {"ScheduledActionName": "window", "Schedule": expression, "ScalableTargetAction": bounds}
    account.client("application-autoscaling").put_scheduled_action(**VARIANT, **action, **more)


def bounds_by_minute(account: SimulatedAccount, minutes: int) -> list[tuple[int, int]]:
    seen = []
    for _ in range(minutes):
        account.advance()
        seen.append(account.snapshot("ranker")["bounds"])
    return seen


@pytest.mark.parametrize(
    ("expression", "more", "first"),
    [
        ("at(2025-04-02T06:03:00)", {}, 3),
        ("at(2025-04-02T08:03:00)", {"Timezone": "Europe/Berlin"}, 3),
        ("cron(4 6 * * ? *)", {}, 4),
        ("rate(5 minutes)", {}, 5),
        ("cron(4 9 * * ? *)", {"StartTime": START + timedelta(minutes=2)}, 2),  # StartTime runs it, too
        ("rate(5 minutes)", {"EndTime": START + timedelta(minutes=4)}, None),
        ("cron(2 6 * * ? *)", {"StartTime": START + timedelta(minutes=9)}, None),
    ],
)
def test_when_a_scheduled_action_runs(expression: str, more: dict[str, Any], first: int | None) -> None:
    account = realtime_account(count=4)
    register(account, 1, 10)
    schedule(account, expression, {"MaxCapacity": 8}, **more)
    seen = bounds_by_minute(account, 6)
    assert (seen.index((1, 8)) + 1 if (1, 8) in seen else None) == first


def test_a_scheduled_action_moves_capacity_ignores_cooldowns_and_is_never_reverted() -> None:
    account = scaled(at=2)
    feed(account, 150.0, minutes=3 + 7)  # scaled out, cooldown running
    schedule(
        account, "at(2025-04-02T06:11:00)", {"MinCapacity": 6, "MaxCapacity": 12}, EndTime=START + timedelta(hours=1)
    )
    play(account, 1)
    assert count(account) == (3, 6)
    texts = [(activity["Description"], activity["Cause"]) for activity in activities(account)[:2]]
    assert texts == [
        ("Setting desired instance count to 6.", "minimum capacity was set to 6"),
        ("Setting min capacity to 6 and max capacity to 12", "scheduled action name window was triggered"),
    ]
    play(account, 120)
    assert account.snapshot("ranker")["bounds"] == (6, 12)


def test_a_scheduled_action_fails_while_the_endpoint_updates_and_is_not_retried() -> None:
    account = realtime_account(count=2)
    register(account)
    schedule(account, "at(2025-04-02T06:03:00)", {"MinCapacity": 6})
    account.deploy("ranker", 2)
    play(account, 20)
    assert account.snapshot("ranker")["bounds"] == (1, 10)
    assert "Resource Id [endpoint/ranker/variant/AllTraffic] is not scalable" in activities(account)[0]["StatusMessage"]


def test_a_run_that_would_cross_the_bounds_fails() -> None:
    account = realtime_account(count=2)
    register(account, 2, 4)
    schedule(account, "at(2025-04-02T06:03:00)", {"MinCapacity": 6})
    play(account, 4)
    assert account.snapshot("ranker")["bounds"] == (2, 4)
    assert activities(account)[0]["StatusCode"] == "Failed"


@pytest.mark.parametrize(
    ("suspended", "load", "want"),
    [
        ("DynamicScalingOutSuspended", 200.0, 4),
        ("DynamicScalingInSuspended", 20.0, 4),
        ("DynamicScalingInSuspended", 200.0, 16),  # twice, the second time after the cooldown
        ("ScheduledScalingSuspended", 200.0, 16),
    ],
)
def test_suspended_scaling(suspended: str, load: float, want: int) -> None:
    account = scaled(at=4)
    state: Any = {suspended: True}
    account.client("application-autoscaling").register_scalable_target(**VARIANT, SuspendedState=state)
    feed(account, load, minutes=16)
    assert count(account)[1] == want


def test_suspended_schedules_are_not_replayed() -> None:
    account = realtime_account(count=2)
    register(account)
    schedule(account, "at(2025-04-02T06:03:00)", {"MinCapacity": 6})
    client = account.client("application-autoscaling")
    client.register_scalable_target(**VARIANT, SuspendedState={"ScheduledScalingSuspended": True})
    play(account, 5)
    client.register_scalable_target(**VARIANT, SuspendedState={"ScheduledScalingSuspended": False})
    play(account, 5)
    assert count(account) == (2, 2)


# ---- adversarial -----------------------------------------------------------------------------------------------------


def test_adversarial_a_deployment_during_a_scale_out_cooldown_does_not_scale_from_the_lost_capacity() -> None:
    account = scaled(at=4)
    feed(account, 200.0, minutes=3 + 7)
    assert count(account) == (8, 8)
    account.deploy("ranker", 1)
    feed(account, 150.0, minutes=7)
    assert count(account) == (1, 2)  # 1 x 1.5, not 4 x 1.5


def test_adversarial_a_hand_made_count_above_the_maximum_is_not_scaled_out_further() -> None:
    account = scaled(at=4)
    register(account, 1, 4)
    account.sagemaker.order(account.endpoint("ranker").first, 6)
    feed(account, 200.0, minutes=10)
    assert count(account) == (6, 6)


def test_adversarial_a_deleted_alarm_silences_its_policy_without_harm() -> None:
    account = scaled(at=4)
    names = [alarm["AlarmName"] for alarm in account.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    account.client("cloudwatch").delete_alarms(AlarmNames=names)
    feed(account, 500.0, minutes=5)
    assert count(account) == (4, 4)
