"""Endpoints: capacity that takes its time, one change at a time, discovery."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload
from tests.unit.simulator.worlds import START, async_account, count, play, realtime_account


def order(account: SimulatedAccount, instances: int, variant: str = "AllTraffic") -> None:
    wish: Any = [{"VariantName": variant, "DesiredInstanceCount": instances}]
    account.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName="ranker", DesiredWeightsAndCapacities=wish
    )


def test_ordered_instances_serve_after_the_provisioning_delay_and_are_billed_from_the_order() -> None:
    account = realtime_account(count=2)
    order(account, 5)
    assert count(account) == (2, 5)
    play(account, 6)
    assert account.endpoint("ranker").workload.history.ready == [2] * 6
    assert (count(account), account.endpoint("ranker").status) == ((2, 5), "Updating")
    play(account, 1)
    assert account.endpoint("ranker").workload.history.ready[-1] == 5
    assert (count(account), account.endpoint("ranker").status) == ((5, 5), "InService")
    assert account.endpoint("ranker").instance_minutes == 7 * 5


def test_removed_instances_are_gone_and_not_billed_after_the_removal_delay() -> None:
    account = realtime_account(count=5)
    order(account, 2)
    play(account, 3)
    assert account.endpoint("ranker").workload.history.ready == [5, 2, 2]
    assert account.endpoint("ranker").instance_minutes == 5 + 2 + 2


def test_one_change_at_a_time() -> None:
    account = realtime_account()
    order(account, 5)
    with pytest.raises(ClientError, match=r"ValidationException.*Cannot update in-progress endpoint"):
        order(account, 6)
    play(account, 7)
    order(account, 6)
    assert count(account) == (5, 6)


def test_the_same_count_changes_nothing() -> None:
    account = realtime_account(count=2)
    order(account, 2)
    assert account.endpoint("ranker").status == "InService"


@pytest.mark.parametrize(
    ("instances", "variant", "why"),
    [
        (4, "AllTraffic", "ResourceLimitExceeded.*ml.g5.xlarge for endpoint usage"),
        (0, "AllTraffic", "ValidationException.*at least 1"),
        (2, "Blue", "ValidationException.*Blue does not exist"),
    ],
)
def test_refused_orders(instances: int, variant: str, why: str) -> None:
    account = realtime_account(count=2, instance_quota=3)
    with pytest.raises(ClientError, match=why):
        order(account, instances, variant)
    assert count(account) == (2, 2)


def test_adversarial_a_fleet_over_its_quota_may_still_shrink() -> None:
    account = realtime_account(count=6, instance_quota=3)
    order(account, 5)
    assert count(account) == (6, 5)


def test_status_changes_send_events_in_awss_form() -> None:
    account = realtime_account(count=4, tags={"team": "ranking"})
    order(account, 6)
    sent = play(account, 7)
    events = [event for event in sent if event["detail-type"] == "SageMaker Endpoint State Change"]
    assert [event["detail"]["EndpointStatus"] for event in events] == ["UPDATING", "IN_SERVICE"]
    updating = events[0]
    assert (updating["source"], updating["detail-type"]) == ("aws.sagemaker", "SageMaker Endpoint State Change")
    assert updating["resources"] == ["arn:aws:sagemaker:eu-central-1:123456789012:endpoint/ranker"]
    milliseconds = START.timestamp() * 1000
    assert updating["detail"] == {
        "EndpointName": "ranker",
        "EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/ranker",
        "EndpointConfigName": "ranker-config-1",
        "ProductionVariants": [{"DesiredWeight": 1.0, "DesiredInstanceCount": 6.0}],
        "EndpointStatus": "UPDATING",
        "CreationTime": milliseconds,
        "LastModifiedTime": milliseconds,
        "Tags": {"team": "ranking"},
    }
    assert events[1]["time"] == "2025-04-02T06:06:00Z"
    assert len({event["id"] for event in sent}) == 3
    (deployment,) = [e for e in sent if e["detail-type"] == "SageMaker Endpoint Deployment State Change"]
    assert deployment["detail"]["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "CurrentInstanceCount": 4,
            "DesiredInstanceCount": 6,
            "VariantStatus": [
                {
                    "Status": "Updating",
                    "StatusMessage": "Scaling out desired instance count to 6.",
                    "StartTime": milliseconds,
                }
            ],
        }
    ]


def test_a_deployment_resets_the_count_and_brings_a_new_config() -> None:
    account = realtime_account(count=5)
    account.deploy("ranker", 2)
    described = account.client("sagemaker").describe_endpoint(EndpointName="ranker")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", "ranker-config-1")
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == "ranker-config-2"
    play(account, 7)
    assert count(account) == (2, 2)
    assert account.endpoint("ranker").config_name == "ranker-config-2"


def test_describe_tells_counts_and_kind() -> None:
    sagemaker = realtime_account(count=2).client("sagemaker")
    described = sagemaker.describe_endpoint(EndpointName="ranker")
    variant = described["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    assert config["ProductionVariants"][0]["InstanceType"] == "ml.g5.xlarge"


@pytest.mark.parametrize(("account", "queued"), [(realtime_account(), False), (async_account(), True)])
def test_an_async_inference_config_marks_asynchronous_endpoints(account: SimulatedAccount, *, queued: bool) -> None:
    described = dict(account.client("sagemaker").describe_endpoint(EndpointName="ranker"))
    assert ("AsyncInferenceConfig" in described) == queued


def fleet(size: int) -> SimulatedAccount:
    account = SimulatedAccount(now=START)
    for number in range(size):
        workload = RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1.0)
        tags = {"tidegate:profile": "chat" if number % 2 else "rank"} if number else {}
        account.add_endpoint(name=f"e{number:03}", workload=workload, instance_count=1, tags=tags)
    return account


def test_endpoints_are_listed_ten_to_a_page() -> None:
    sagemaker = fleet(25).client("sagemaker")
    assert len(sagemaker.list_endpoints()["Endpoints"]) == 10
    listed = [each for page in sagemaker.get_paginator("list_endpoints").paginate() for each in page["Endpoints"]]
    assert len({each["EndpointName"] for each in listed}) == 25
    assert len(sagemaker.list_endpoints(NameContains="e01", MaxResults=100)["Endpoints"]) == 10
    assert sagemaker.list_endpoints(StatusEquals="Updating")["Endpoints"] == []


@pytest.mark.parametrize(
    ("filters", "types", "want"),
    [
        ([{"Key": "tidegate:profile", "Values": ["chat"]}], ["sagemaker:endpoint"], 3),
        ([{"Key": "tidegate:profile", "Values": ["chat", "rank"]}], ["sagemaker"], 5),
        ([{"Key": "tidegate:profile"}], [], 5),  # untagged e000 is never returned
        ([], ["sagemaker:endpoint"], 5),
        ([{"Key": "tidegate:profile"}, {"Key": "other"}], [], 0),
        ([], ["ec2:instance"], 0),
    ],
)
def test_resources_by_tag(filters: list[Any], types: list[str], want: int) -> None:
    paginator: Any = fleet(6).client("resourcegroupstaggingapi").get_paginator("get_resources")
    pages = paginator.paginate(TagFilters=filters, ResourceTypeFilters=types, ResourcesPerPage=2)
    assert len([each for page in pages for each in page["ResourceTagMappingList"]]) == want


def test_delays_are_the_endpoints_own() -> None:
    account = realtime_account(count=1, provisioning_delay=timedelta(minutes=2))
    order(account, 2)
    play(account, 3)
    assert account.endpoint("ranker").workload.history.ready == [1, 1, 2]
