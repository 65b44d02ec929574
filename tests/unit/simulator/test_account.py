"""The account: its clock, records, scripted failures, silences and snapshots."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import Call, SimulatedAccount
from simulator.workload import RealtimeWorkload
from tests.unit.simulator.worlds import START, VARIANT, feed, play, realtime_account, register, track, values

SILENT = "AWS/SageMaker", "Invocations", "ranker"


@pytest.mark.parametrize("now", [datetime(2025, 4, 2, 6), START + timedelta(seconds=1)])  # noqa: DTZ001 - naive on purpose
def test_the_clock_starts_aware_and_on_a_minute(now: datetime) -> None:
    with pytest.raises(ValueError, match="aware datetime on a whole minute"):
        SimulatedAccount(now=now)


def test_advance_moves_one_minute() -> None:
    account = realtime_account()
    account.advance()
    assert account.now == START + timedelta(minutes=1)


def test_clients_are_kept() -> None:
    account = realtime_account()
    assert account.client("sagemaker") is account.client("sagemaker")


def test_calls_are_recorded_with_their_caller_refused_ones_too() -> None:
    account = realtime_account()
    account.caller = "RealtimeTarget"
    with pytest.raises(ClientError):
        account.client("sagemaker").describe_endpoint(EndpointName="absent")
    wanted = Call("sagemaker", "DescribeEndpoint", {"EndpointName": "absent"}, START, "RealtimeTarget")
    assert account.calls == [wanted]


def test_recording_calls_can_be_turned_off() -> None:
    account = SimulatedAccount(now=START, record_calls=False)
    account.client("sagemaker").list_endpoints()
    assert account.calls == []


def test_a_scripted_failure_strikes_once_and_changes_nothing() -> None:
    account = realtime_account(count=2)
    account.fail_next("application-autoscaling", "RegisterScalableTarget", "ConcurrentUpdateException", "in flight")
    with pytest.raises(ClientError, match=r"ConcurrentUpdateException.*in flight"):
        register(account, 5, 9)
    assert account.snapshot("ranker") == {}
    register(account, 5, 9)
    assert account.snapshot("ranker")["bounds"] == (5, 9)


def test_throttling_is_not_retried_below_the_caller() -> None:
    account = realtime_account()
    account.fail_next("sagemaker", "ListEndpoints", "ThrottlingException", "Rate exceeded")
    with pytest.raises(ClientError, match="ThrottlingException"):
        account.client("sagemaker").list_endpoints()
    assert len(account.calls) == 1


def test_a_silenced_metric_is_missing_and_stays_so_for_those_minutes() -> None:
    account = realtime_account([1, 2, 3, 4, 5])
    play(account, 1)
    account.silence(*SILENT)
    play(account, 2)
    account.unsilence(*SILENT)
    play(account, 4)
    assert values(account, "Invocations") == [1.0, 4.0, 5.0]
    assert len(values(account, "InvocationsPerInstance")) == 5


def test_events_of_calls_come_with_the_next_minute() -> None:
    account = realtime_account(count=1)
    register(account, 3, 5)
    assert {event["detail"]["EndpointStatus"] for event in account.advance()} == {"UPDATING"}
    assert account.advance() == []


def test_two_equal_accounts_tell_the_same_story() -> None:
    def story() -> list[Any]:
        account = realtime_account([500] * 5 + [3000] * 30)
        register(account)
        track(account)
        return [
            feed(account, 150.0, minutes=30),
            account.snapshot("ranker"),
            account.endpoint("ranker").instance_minutes,
        ]

    assert story() == story()


def test_a_snapshot_holds_what_was_put_without_times_and_arns() -> None:
    account = realtime_account()
    register(account, 1, 9)
    track(account, 60.0)
    action: dict[str, Any] = {"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}}
    account.client("application-autoscaling").put_scheduled_action(**VARIANT, ScheduledActionName="restore", **action)
    seen = account.snapshot("ranker")
    assert seen["bounds"] == (1, 9)
    assert seen["policies"]["load"]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 60.0
    assert seen["scheduled_actions"] == {"restore": action}


def test_answers_and_records_are_copies() -> None:
    account = realtime_account()
    register(account)
    track(account)
    client = account.client("application-autoscaling")
    answer: Any = client.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"][0]
    answer["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] = -1.0
    policy = account.snapshot("ranker")["policies"]["load"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 100.0


def test_backfill_writes_the_past_and_takes_no_time() -> None:
    account = realtime_account()
    past = RealtimeWorkload(per_minute_requests=[10, 20, 30], capacity_per_instance=1000.0)
    account.backfill("ranker", past, minutes=3)
    assert account.now == START
    assert values(account, "Invocations") == [10.0]  # minutes -3, -2 and -1; the last two are not readable yet
    play(account, 2)
    assert values(account, "Invocations") == [10.0, 20.0, 30.0]


def test_endpoint_names_are_unique() -> None:
    account = realtime_account()
    with pytest.raises(ValueError, match="exists already"):
        account.add_endpoint(name="ranker", workload=account.endpoint("ranker").workload, instance_count=1)
