"""UpdateEndpoint, CreateEndpoint and DeleteEndpoint as SageMaker does them, and what it refuses."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from simulator.events import Event
from simulator.sagemaker import SHORTAGE
from tests.unit.simulator.worlds import count, play, realtime_account, register

REFUSED = (
    'The variant(s) "[AllTraffic]" must be deregistered as scalable targets with AutoScaling before they can be '
    "removed or have their instance type updated."
)
RETAIN = {"RetainAllVariantProperties": True}


def variant(name: str = "AllTraffic", instances: int = 2, weight: float = 1.0, **more: Any) -> dict[str, Any]:
    made = {"VariantName": name, "ModelName": "m", "InitialInstanceCount": instances, "InitialVariantWeight": weight}
    return {**made, "InstanceType": "ml.g5.xlarge", **more}


def update(account: SimulatedAccount, *variants: dict[str, Any], config: str = "next", **more: Any) -> None:
    sagemaker: Any = account.client("sagemaker")
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[*variants])
    sagemaker.update_endpoint(EndpointName="ranker", EndpointConfigName=config, **more)


def described(account: SimulatedAccount) -> dict[str, Any]:
    return dict(account.client("sagemaker").describe_endpoint(EndpointName="ranker"))


def statuses(events: list[Event]) -> list[str]:
    kind = "SageMaker Endpoint State Change"
    return [event["detail"]["EndpointStatus"] for event in events if event["detail-type"] == kind]


# ---- counts and properties ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "instances", "weight"),
    [
        ({}, 2, 3.0),  # the new configuration's
        (RETAIN, 5, 1.0),
        ({**RETAIN, "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}]}, 2, 1.0),
        ({**RETAIN, "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredWeight"}]}, 5, 3.0),
    ],
)
def test_what_a_deployment_retains(asked: dict[str, Any], instances: int, weight: float) -> None:
    account = realtime_account(count=5)
    update(account, variant(instances=2, weight=3.0), **asked)
    play(account, 7)
    (seen,) = described(account)["ProductionVariants"]
    assert (seen["CurrentInstanceCount"], seen["DesiredWeight"]) == (instances, weight)


@pytest.mark.parametrize(
    "variants",
    [
        [variant(InstanceType="ml.g5.2xlarge")],
        [variant("blue")],  # renamed: the old name is removed
    ],
)
def test_an_autoscaled_variant_keeps_its_type_and_its_place(variants: list[dict[str, Any]]) -> None:
    account = realtime_account(count=2)
    register(account)
    with pytest.raises(ClientError) as refused:
        update(account, *variants)
    assert refused.value.response["Error"] == {"Code": "ValidationException", "Message": REFUSED}
    assert described(account)["EndpointStatus"] == "InService"


def test_deregistered_it_may_change() -> None:
    account = realtime_account(count=2)
    update(account, variant(InstanceType="ml.g5.2xlarge"))
    play(account, 7)
    config = account.client("sagemaker").describe_endpoint_config(EndpointConfigName="next")
    assert config["ProductionVariants"][0]["InstanceType"] == "ml.g5.2xlarge"


def test_only_another_model_is_no_reason_to_refuse() -> None:
    account = realtime_account(count=2)
    register(account)
    update(account, variant(instances=2))
    assert described(account)["EndpointStatus"] == "Updating"


def test_variants_share_the_traffic_by_weight() -> None:
    account = realtime_account([1000] * 60, count=2)
    update(account, variant(weight=3.0), variant("canary", 1, weight=1.0))
    play(account, 8)
    found = account.endpoint("ranker").variants
    assert [v.workload.history.demand[-1] for v in found.values()] == [750, 250]
    sagemaker: Any = account.client("sagemaker")
    wish = [{"VariantName": "canary", "DesiredWeight": 3.0}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="ranker", DesiredWeightsAndCapacities=wish)
    assert described(account)["EndpointStatus"] == "Updating"
    play(account, 2)
    assert [v.workload.history.demand[-1] for v in found.values()] == [500, 500]
    assert described(account)["EndpointStatus"] == "InService"


# ---- how long it takes, and what serves meanwhile ------------------------------------------------------------------------


def bluegreen(kind: str, wait: int, termination: int = 0, **more: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **more}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": termination}
    return {"DeploymentConfig": {"BlueGreenUpdatePolicy": policy}}


def rolling(batch: int, wait: int = 0, kind: str = "INSTANCE_COUNT") -> dict[str, Any]:
    size = {"Type": kind, "Value": batch}
    return {"DeploymentConfig": {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait}}}


TEN_PERCENT = {"Type": "CAPACITY_PERCENT", "Value": 10}
HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}


@pytest.mark.parametrize(
    ("strategy", "minutes", "switched"),
    [
        # instances start in 6 minutes; four run, three come; the serving count by the minute
        ({}, 6, 6),
        (bluegreen("ALL_AT_ONCE", 120), 8, 8),
        (bluegreen("CANARY", 180, CanarySize=TEN_PERCENT), 12, 12),  # two steps of three minutes
        (bluegreen("LINEAR", 180, LinearStepSize=HALF), 12, 12),
        (bluegreen("ALL_AT_ONCE", 0, termination=300), 11, 6),  # the old fleet is paid for five minutes more
    ],
)
def test_blue_green_pays_for_two_fleets_and_then_switches(
    strategy: dict[str, Any], minutes: int, switched: int
) -> None:
    account = realtime_account(count=4)
    update(account, variant(instances=3), **strategy)
    play(account, minutes)
    assert described(account)["EndpointStatus"] == "Updating"
    assert account.endpoint("ranker").instance_minutes == minutes * (4 + 3)
    play(account, 1)
    assert described(account)["EndpointStatus"] == "InService"
    assert account.endpoint("ranker").workload.history.ready == [4] * switched + [3] * (minutes + 1 - switched)


def test_rolling_moves_the_count_batch_by_batch() -> None:
    account = realtime_account(count=4)
    update(account, variant(instances=6), **rolling(2, wait=60))  # 3 batches of 6 + 1 minutes
    play(account, 22)
    assert account.endpoint("ranker").workload.history.ready == [4] * 7 + [5] * 7 + [5] * 7 + [6]
    assert described(account)["EndpointStatus"] == "InService"


def test_a_second_deployment_waits_for_the_first() -> None:
    account = realtime_account(count=2)
    update(account, variant())
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        update(account, variant(), config="another")


# ---- quotas and shortages ----------------------------------------------------------------------------------------------


def test_blue_green_needs_quota_for_both_fleets() -> None:
    account = realtime_account(count=3, instance_quota=5)
    with pytest.raises(ClientError, match=r"ResourceLimitExceeded.* is 5 Instances, with current utilization of 3 Ins"):
        update(account, variant(instances=3))
    update(account, variant(instances=3), config="in-batches", **rolling(1))
    assert described(account)["EndpointStatus"] == "Updating"


def test_a_shortage_takes_the_order_and_fails_minutes_later() -> None:
    account = realtime_account(count=2)
    account.endpoint("ranker").instances_left = 1
    register(account, 5, 8)
    assert count(account) == (2, 5)
    play(account, 7)
    assert (count(account), described(account)["EndpointStatus"]) == ((2, 2), "InService")
    activities = account.client("application-autoscaling").describe_scaling_activities(ServiceNamespace="sagemaker")
    (activity,) = activities["ScalingActivities"]
    assert activity["StatusCode"] == "Failed"
    assert activity["StatusMessage"] == f"Failed to set desired instance count to 5. Reason: {SHORTAGE}"
    account.endpoint("ranker").instances_left = None
    register(account, 5, 8)
    play(account, 7)
    assert count(account) == (5, 5)


@pytest.mark.parametrize("strategy", [{}, rolling(1)])
@pytest.mark.parametrize(("rollback_fails", "ends"), [(False, ["IN_SERVICE"]), (True, ["UPDATE_ROLLBACK_FAILED"])])
def test_a_deployment_without_instances_rolls_back(
    strategy: dict[str, Any], ends: list[str], *, rollback_fails: bool
) -> None:
    account = realtime_account(count=2)
    endpoint = account.endpoint("ranker")
    endpoint.instances_left, endpoint.rollback_fails = 0, rollback_fails
    update(account, variant(instances=4), **strategy)
    assert statuses(play(account, 8)) == ["UPDATING", "ROLLING_BACK", *ends]
    seen = described(account)
    assert (seen["EndpointConfigName"], seen["FailureReason"]) == ("ranker-config-1", SHORTAGE)
    assert count(account) == (2, 2)


# ---- deleted and created -----------------------------------------------------------------------------------------------


def test_a_deleted_endpoint_takes_its_targets_with_it_and_its_traffic_goes_on() -> None:
    account = realtime_account([100] * 5 + [900] * 60, count=2)
    register(account)
    first = described(account)["CreationTime"]
    sagemaker: Any = account.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName="ranker")
    assert account.autoscaling.targets == {}
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        sagemaker.create_endpoint(EndpointName="ranker", EndpointConfigName="ranker-config-1")
    assert statuses(play(account, 4)) == ["DELETING"]
    with pytest.raises(ClientError, match="Could not find endpoint"):
        described(account)
    sagemaker.create_endpoint(
        EndpointName="ranker", EndpointConfigName="ranker-config-1", Tags=[{"Key": "tidegate:profile", "Value": "web"}]
    )
    assert "ProductionVariants" not in described(account)
    assert statuses(play(account, 7)) == ["CREATING", "IN_SERVICE"]
    assert count(account) == (2, 2)
    assert described(account)["CreationTime"] == first + timedelta(minutes=4)
    assert account.endpoint("ranker").workload.history.demand == [100] * 5 + [900] * 6


def test_an_endpoint_that_finds_no_instances_fails() -> None:
    account = realtime_account(count=2)
    sagemaker: Any = account.client("sagemaker")
    sagemaker.create_endpoint(EndpointName="other", EndpointConfigName="ranker-config-1")
    account.endpoint("other").instances_left = 1
    play(account, 7)
    seen = sagemaker.describe_endpoint(EndpointName="other")
    assert (seen["EndpointStatus"], seen["FailureReason"]) == ("Failed", SHORTAGE)


def test_an_endpoint_under_change_is_not_deleted() -> None:
    account = realtime_account(count=2)
    update(account, variant())
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        account.client("sagemaker").delete_endpoint(EndpointName="ranker")


@pytest.mark.parametrize("operation", ["create_endpoint", "update_endpoint"])
def test_an_unknown_configuration(operation: str) -> None:
    sagemaker: Any = realtime_account(count=2).client("sagemaker")
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        getattr(sagemaker, operation)(EndpointName="ranker", EndpointConfigName="ghost")
