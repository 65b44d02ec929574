"""What the core may expect of Application Auto Scaling."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.errors import ActuationError, TargetNotFoundError
from core.model import Envelope, Refusal, ScalableTarget, Starts
from core.ports import Autoscaling, NativePolicy, Registration, ScheduledAction
from tests.contract.aws.accounts import Account, Simulated, autoscaling_of, chosen
from tests.contract.aws.stubs import scripted
from tests.fakes.aws import FakeAutoscaling

ORDERS = ScalableTarget.variant("orders", "AllTraffic")
OCR = ScalableTarget.variant("doc-ocr", "AllTraffic")
TRACKING = NativePolicy(
    "tidegate-test-requests",
    "TargetTrackingScaling",
    {
        "TargetValue": 800.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "ScaleOutCooldown": 60,
        "ScaleInCooldown": 300,
    },
)
STEPS = NativePolicy(
    "tidegate-test-saturation",
    "StepScaling",
    {
        "AdjustmentType": "PercentChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 100}],
        "MetricAggregationType": "Average",
        "Cooldown": 300,
    },
)
EXPIRY = ScheduledAction(
    "tidegate-test-expiry",
    {
        "Schedule": "rate(15 minutes)",
        "Timezone": "UTC",
        "StartTime": datetime(2026, 11, 22, 13, tzinfo=UTC),
        "ScalableTargetAction": {"MinCapacity": 0, "MaxCapacity": 12},
    },
)


def over(account: Account) -> ApplicationAutoScaling:
    """Return the adapter over an account with both endpoints."""
    account.add_endpoint("orders", 1)
    account.add_endpoint("doc-ocr", 1, queued=True)
    return autoscaling_of(account)


@pytest.fixture(params=["moto", "simulator", "http", "direct", "fake"])
def aas(request: pytest.FixtureRequest) -> Autoscaling:
    """The unit tests' fake keeps the same contract, or they would prove nothing."""
    return FakeAutoscaling() if request.param == "fake" else over(chosen(request))


@pytest.fixture(params=["simulator", "http", "direct", "fake"])
def strict(request: pytest.FixtureRequest) -> Autoscaling:
    return FakeAutoscaling() if request.param == "fake" else over(chosen(request))


class TestBounds:
    def test_only_the_registered_are_found(self, aas: Autoscaling) -> None:
        aas.register(ORDERS, Envelope(1, 4))
        assert aas.registered([ORDERS, OCR]) == {ORDERS: Registration(Envelope(1, 4))}

    def test_all_of_the_region_are_counted(self, aas: Autoscaling) -> None:
        assert aas.count() == 0
        aas.register(ORDERS, Envelope(1, 4))
        aas.register(OCR, Envelope(0, 2))
        assert aas.count() == 2

    def test_nothing_is_asked_for_nothing(self, aas: Autoscaling) -> None:
        aas.register(ORDERS, Envelope(1, 4))
        assert aas.registered([]) == {}

    def test_registering_again_sets_both_bounds(self, aas: Autoscaling) -> None:
        aas.register(ORDERS, Envelope(3, 4))
        aas.register(ORDERS, Envelope(1, 12))
        assert aas.registered([ORDERS]) == {ORDERS: Registration(Envelope(1, 12))}

    def test_a_queue_may_go_to_zero(self, aas: Autoscaling) -> None:
        aas.register(OCR, Envelope(0, 4))
        assert aas.registered([OCR]) == {OCR: Registration(Envelope(0, 4))}

    def test_deregistering_takes_policies_and_actions_along_and_can_be_repeated(self, strict: Autoscaling) -> None:
        strict.register(ORDERS, Envelope(1, 4))
        strict.put_policy(ORDERS, TRACKING)
        strict.put_scheduled_action(ORDERS, EXPIRY)
        strict.deregister(ORDERS)
        strict.deregister(ORDERS)
        assert strict.registered([ORDERS]) == {}
        assert (strict.policies(ORDERS), strict.scheduled_actions(ORDERS)) == ((), ())

    def test_an_endpoint_that_is_not_there_cannot_be_registered(self) -> None:
        with pytest.raises(ActuationError):
            over(Simulated()).register(ScalableTarget.variant("gone", "AllTraffic"), Envelope(1, 4))

    def test_50_targets_a_call_each_once_and_only_in_our_dimension(self) -> None:
        targets = [ScalableTarget.variant(f"endpoint-{n}", "AllTraffic") for n in range(51)]
        ids = [target.resource_id for target in targets]
        row = {
            "ServiceNamespace": "sagemaker",
            "RoleARN": "arn:aws:iam::123456789012:role/r",
            "CreationTime": 0,
            "MinCapacity": 1,
            "MaxCapacity": 4,
        }
        ours = {
            "ResourceId": ids[0],
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            "SuspendedState": {
                "ScheduledScalingSuspended": True,
                "DynamicScalingInSuspended": False,
                "DynamicScalingOutSuspended": True,
            },
            **row,
        }
        other = {"ResourceId": ids[1], "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency", **row}
        with scripted("application-autoscaling") as (client, script):
            for batch, rows in [(ids[:50], [ours, other]), (ids[50:], [])]:
                script.add_response(
                    "describe_scalable_targets",
                    {"ScalableTargets": rows},
                    {"ServiceNamespace": "sagemaker", "ResourceIds": batch},
                )
            seen = ApplicationAutoScaling(client).registered([*targets, targets[0]])
        suspended = ("DynamicScalingOut", "ScheduledScaling")
        assert seen == {targets[0]: Registration(Envelope(1, 4), suspended)}


class TestPolicies:
    @pytest.mark.parametrize("policy", [TRACKING, STEPS], ids=lambda policy: policy.policy_type)
    def test_what_is_put_is_read_again(self, aas: Autoscaling, policy: NativePolicy) -> None:
        aas.register(ORDERS, Envelope(1, 4))
        arn = aas.put_policy(ORDERS, policy)
        assert arn.endswith(f":policyName/{policy.name}")
        (seen,) = aas.policies(ORDERS)
        assert replace(seen, alarm_names=()) == policy

    def test_tracking_brings_its_two_alarms(self, strict: Autoscaling) -> None:
        strict.register(ORDERS, Envelope(1, 4))
        strict.put_policy(ORDERS, TRACKING)
        (seen,) = strict.policies(ORDERS)
        assert sorted("AlarmHigh" in name for name in seen.alarm_names) == [False, True]

    def test_putting_again_replaces(self, aas: Autoscaling) -> None:
        aas.register(ORDERS, Envelope(1, 4))
        aas.put_policy(ORDERS, TRACKING)
        aas.put_policy(ORDERS, replace(TRACKING, configuration={**TRACKING.configuration, "TargetValue": 600.0}))
        assert [seen.configuration["TargetValue"] for seen in aas.policies(ORDERS)] == [600.0]

    def test_more_policies_than_a_page_holds(self, aas: Autoscaling) -> None:
        aas.register(ORDERS, Envelope(1, 4))
        for n in range(11):
            aas.put_policy(ORDERS, replace(STEPS, name=f"steps-{n}"))
        assert len(aas.policies(ORDERS)) == 11

    def test_deleting_can_be_repeated(self, strict: Autoscaling) -> None:
        strict.register(ORDERS, Envelope(1, 4))
        strict.put_policy(ORDERS, STEPS)
        strict.delete_policy(ORDERS, STEPS.name)
        strict.delete_policy(ORDERS, STEPS.name)
        assert strict.policies(ORDERS) == ()

    def test_a_policy_needs_a_registered_target(self, strict: Autoscaling) -> None:
        with pytest.raises(TargetNotFoundError):
            strict.put_policy(ORDERS, TRACKING)


class TestScheduledActions:
    def test_what_is_put_is_read_again_in_utc(self, aas: Autoscaling) -> None:
        aas.register(ORDERS, Envelope(1, 4))
        aas.put_scheduled_action(ORDERS, EXPIRY)
        (seen,) = aas.scheduled_actions(ORDERS)
        assert seen == EXPIRY
        assert seen.settings["StartTime"].tzinfo is UTC

    def test_what_a_replacement_leaves_out_is_removed(self, strict: Autoscaling) -> None:
        strict.register(ORDERS, Envelope(1, 4))
        strict.put_scheduled_action(ORDERS, EXPIRY)
        bare = ScheduledAction(
            EXPIRY.name, {"Schedule": "rate(15 minutes)", "ScalableTargetAction": {"MinCapacity": 2}}
        )
        strict.put_scheduled_action(ORDERS, bare)
        (seen,) = strict.scheduled_actions(ORDERS)
        assert "StartTime" not in seen.settings
        assert seen.settings["ScalableTargetAction"] == {"MinCapacity": 2}

    def test_deleting_can_be_repeated(self, strict: Autoscaling) -> None:
        strict.register(ORDERS, Envelope(1, 4))
        strict.put_scheduled_action(ORDERS, EXPIRY)
        strict.delete_scheduled_action(ORDERS, EXPIRY.name)
        strict.delete_scheduled_action(ORDERS, EXPIRY.name)
        assert strict.scheduled_actions(ORDERS) == ()


QUOTA = (
    "Failed to set desired instance count to 4. Reason: The account-level service limit 'ml.m5.xlarge for endpoint "
    "usage' is 2 Instances, with current utilization of 1 Instances and a request delta of 3 Instances. Please use AWS "
    "Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS support "
    "to request an increase for this quota."
)
"""The wording of a real account."""

SHORTAGE = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)
NINE = datetime(2026, 11, 18, 9, tzinfo=UTC)


def activity(status: str, minute: int, message: str | None = None) -> dict[str, Any]:
    said = {} if message is None else {"StatusMessage": message}
    over = {} if status in {"Pending", "InProgress"} else {"EndTime": NINE + timedelta(minutes=minute, seconds=5)}
    return {
        "ActivityId": f"{status}-{minute}",
        "ServiceNamespace": "sagemaker",
        "ResourceId": ORDERS.resource_id,
        "ScalableDimension": ORDERS.dimension.value,
        "Description": "Setting desired instance count to 4.",
        "Cause": "minimum capacity was set to 4",
        "StartTime": NINE + timedelta(minutes=minute),
        "StatusCode": status,
        **said,
        **over,
    }


class TestRefusal:
    @pytest.fixture(params=["simulator", "http"])
    def short(self, request: pytest.FixtureRequest) -> Simulated:
        """An account that may have two instances."""
        account = chosen(request)
        assert isinstance(account, Simulated)
        account.add_endpoint("orders", 1, quota=2)
        return account

    def test_a_floor_above_the_quota_is_taken_and_refused_as_an_activity(self, short: Simulated) -> None:
        aas = ApplicationAutoScaling(short.client("application-autoscaling"))
        aas.register(ORDERS, Envelope(1, 4))
        assert aas.refusal(ORDERS) is None
        aas.register(ORDERS, Envelope(4, 4))
        seen = aas.refusal(ORDERS)
        assert seen is not None
        assert (seen.code, seen.text) == ("ResourceLimitExceeded", QUOTA)
        assert seen.at.tzinfo is UTC

    def test_once_the_count_has_followed_there_is_none(self, short: Simulated) -> None:
        aas = ApplicationAutoScaling(short.client("application-autoscaling"))
        aas.register(ORDERS, Envelope(4, 4))
        aas.register(ORDERS, Envelope(2, 4))
        for _ in range(8):
            short.account.advance()
        assert aas.refusal(ORDERS) is None

    @pytest.mark.parametrize(
        ("_when", "activities", "want"),
        [
            ("nothing ever happened", [], None),
            ("the newest decides", [activity("Successful", 9), activity("Failed", 1, QUOTA)], None),
            ("in whatever order", [activity("Failed", 1, QUOTA), activity("Successful", 9)], None),
            ("what is under way is not over", [activity("InProgress", 9), activity("Successful", 1)], None),
            (
                "a try that is under way does not hide the refusal before it",
                [activity("InProgress", 9), activity("Failed", 1, QUOTA)],
                Refusal(NINE + timedelta(minutes=1, seconds=5), "ResourceLimitExceeded", QUOTA),
            ),
            (
                "no such instances are left",
                [activity("Failed", 9, SHORTAGE)],
                Refusal(NINE + timedelta(minutes=9, seconds=5), "InsufficientInstanceCapacity", SHORTAGE),
            ),
            (
                "another text",
                [activity("Failed", 9, "Internal error")],
                Refusal(NINE + timedelta(minutes=9, seconds=5), "Failed", "Internal error"),
            ),
            (
                "no text at all",
                [activity("Failed", 9)],
                Refusal(NINE + timedelta(minutes=9, seconds=5), "Failed", "Setting desired instance count to 4."),
            ),
        ],
    )
    def test_as_described(self, _when: str, activities: list[dict[str, Any]], want: Refusal | None) -> None:
        asked = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": ORDERS.resource_id,
            "ScalableDimension": ORDERS.dimension.value,
            "MaxResults": 10,
        }
        with scripted("application-autoscaling") as (c, script):
            script.add_response("describe_scaling_activities", {"ScalingActivities": activities}, asked)
            assert ApplicationAutoScaling(c).refusal(ORDERS) == want


class TestStarts:
    """How long scale-outs took, from the activities: what `lead: auto` is learnt from (algorithms 1)."""

    @pytest.mark.parametrize("account", ["simulator", "http"], indirect=True)
    def test_of_a_simulated_account_they_are_its_provisioning_delay(self, account: Simulated) -> None:
        aas = ApplicationAutoScaling(account.client("application-autoscaling"))
        aas.register(ORDERS, Envelope(1, 8))
        assert aas.starts(ORDERS, None) == Starts()
        for count in (3, 2, 6):
            aas.register(ORDERS, Envelope(count, count))
            for _ in range(8):
                account.account.advance()
        assert aas.starts(ORDERS, None) == Starts(
            (timedelta(minutes=7),)
        )  # to 6; before 3 nothing is known, 2 is fewer

    @pytest.fixture
    def account(self, request: pytest.FixtureRequest) -> Simulated:
        made = chosen(request)
        assert isinstance(made, Simulated)
        made.add_endpoint("orders", 1)
        return made

    @pytest.mark.parametrize(
        ("since", "running", "from_zero"),
        [
            (None, (6, 4), (8,)),
            (40, (6,), (8,)),  # what was ordered before is of other instances, or of another model on them
            (81, (), ()),
        ],
    )
    def test_as_described(self, since: int | None, running: tuple[int, ...], from_zero: tuple[int, ...]) -> None:
        def set_to(count: int, minute: int, took: int, status: str = "Successful") -> dict[str, Any]:
            begun = NINE + timedelta(minutes=minute)
            made = activity(status, minute) | {"Description": f"Setting desired instance count to {count}."}
            return made | {"StartTime": begun, "EndTime": begun + timedelta(minutes=took)}

        activities = [  # newest first, as AAS lists them
            set_to(4, 80, 8),  # from zero
            set_to(0, 70, 1),
            set_to(9, 60, 1, "Failed"),
            set_to(3, 50, 1),  # fewer than 7
            set_to(7, 40, 6),
            set_to(5, 30, 4),
            set_to(2, 20, 9),  # nobody knows what was before
            activity("Successful", 10) | {"Description": "Setting min capacity to 4 and max capacity to 9."},
        ]
        with scripted("application-autoscaling") as (c, script):
            script.add_response("describe_scaling_activities", {"ScalingActivities": activities})
            found = ApplicationAutoScaling(c).starts(ORDERS, None if since is None else NINE + timedelta(minutes=since))
            assert found == Starts(*(tuple(timedelta(minutes=m) for m in took) for took in (running, from_zero)))
