"""What an account has: one typed view of every endpoint and of what scales it."""

from datetime import timedelta

import pytest

from cli.estate import Estate, Hosted, Quota, read_estate
from core.errors import ObservationError
from core.model import Capacity, Envelope, ScalableTarget, Serving
from tests.contract.aws.accounts import Idle
from tests.estates import NOW, People, fleet


def read(people: People, *only: str) -> Estate:
    return read_estate(people, NOW, only)


def hosted(estate: Estate, name: str) -> Hosted:
    return next(each for endpoint, each in estate.hosted if name in {each.name, endpoint.name})


def test_every_endpoint_its_kind_and_whether_there_is_anything_to_scale() -> None:
    estate = read(fleet())
    assert (estate.region, estate.read_at, estate.unread) == ("eu-central-1", NOW, ())
    assert {endpoint.name: endpoint.kind for endpoint in estate.endpoints} == {
        "chat": Serving.INFERENCE_COMPONENT,
        "forms": Serving.SERVERLESS,
        "hand-run": Serving.REALTIME,
        "orders": Serving.REALTIME,
        "papers": Serving.ASYNC,
    }
    assert {each.target.resource_id: (each.unmanaged or "").partition(":")[0] for _, each in estate.hosted} == {
        "endpoint/chat/variant/AllTraffic": (
            "SageMaker scales its instances itself, by the copies of its inference components"
        ),
        "inference-component/chat-8b": "",
        "endpoint/forms/variant/AllTraffic": "serverless without provisioned concurrency",
        "endpoint/hand-run/variant/AllTraffic": "",
        "endpoint/orders/variant/AllTraffic": "",
        "endpoint/papers/variant/AllTraffic": "",
    }


def test_an_endpoint_with_all_that_hangs_on_it() -> None:
    people = fleet()
    people.register("endpoint/orders/variant/AllTraffic", 1, 8, SuspendedState={"DynamicScalingOutSuspended": True})
    for _ in range(10):
        people.account.advance()
    estate = read(people)
    orders = next(endpoint for endpoint in estate.endpoints if endpoint.name == "orders")
    assert orders.arn == "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/orders"
    assert (orders.status, orders.created_at, orders.tags) == ("InService", NOW, {"team": "ranking"})
    seen = hosted(estate, "orders")
    assert seen.variant.instance_type == "ml.m5.xlarge"
    assert isinstance(seen.capacity, Capacity)
    assert seen.capacity.current == 2
    assert seen.registration is not None
    assert (seen.registration.bounds, seen.registration.created_at) == (Envelope(1, 8), NOW)
    assert seen.registration.suspended == ("DynamicScalingOut",)
    [action] = seen.registration.actions
    assert (action.name, action.settings["Timezone"]) == ("morning", "Europe/Berlin")
    assert action.settings["ScalableTargetAction"] == {"MinCapacity": 4}
    [policy] = seen.registration.policies
    assert (policy.name, policy.metric) == ("requests", "SageMakerVariantInvocationsPerInstance")
    # 600 requests on two instances are 300 each: above 200, far from 0.9 of it
    assert {alarm.name.split("-")[-6]: alarm.state for alarm in policy.alarms} == {
        "AlarmHigh": "ALARM",
        "AlarmLow": "OK",
    }
    assert all(alarm.since and alarm.since > NOW for alarm in policy.alarms)


def test_a_step_policy_has_the_alarms_that_call_it() -> None:
    registration = hosted(read(fleet()), "papers").registration
    assert registration is not None
    assert {policy.name: [alarm.name for alarm in policy.alarms] for policy in registration.policies}["wake"] == [
        "papers-wake"
    ]


def test_pages_are_joined_and_what_others_register_is_no_endpoint_of_ours() -> None:
    people = People()
    for number in range(120):  # ListEndpoints gives 100 at most, DescribeScalableTargets 50, policies 10
        resource = people.endpoint(f"e-{number:03}")
        if number < 60:
            people.register(resource, 1, 3)
            people.track(resource, "cpu", {
                "TargetValue": 50.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            })  # fmt: skip
    heard: list[tuple[int, int]] = []
    estate = read_estate(people, NOW, told=lambda done, of: heard.append((done, of)))
    assert heard == [(n, 120) for n in range(1, 121)]
    registered = [each.registration for _, each in estate.hosted if each.registration]
    assert len(estate.endpoints) == 120
    assert [len(each.policies) for each in registered] == [1] * 60
    assert all(len(policy.alarms) == 2 for each in registered for policy in each.policies)
    assert estate.quota == Quota(limit=500, used=60)


def test_only_some_endpoints() -> None:
    estate = read(fleet(), "papers")
    assert [endpoint.name for endpoint in estate.endpoints] == ["papers"]
    assert estate.strays == ()  # nobody looked whose they are


def test_a_registration_without_its_endpoint_is_a_stray() -> None:
    people = fleet()
    people.account.sagemaker.endpoints.pop("orders")
    assert [each.target for each in read(people).strays] == [ScalableTarget.variant("orders", "AllTraffic")]


def test_reading_changes_nothing() -> None:
    people = fleet()
    people.account.calls.clear()
    read(people)
    assert {call.operation for call in people.account.calls} == {
        "GetResources",
        "ListEndpoints",
        "ListInferenceComponents",
        "DescribeEndpoint",
        "DescribeEndpointConfig",
        "DescribeInferenceComponent",
        "DescribeScalableTargets",
        "DescribeScalingPolicies",
        "DescribeScheduledActions",
        "DescribeAlarms",
    }


DENIED = ("AccessDeniedException", "not authorized")


def test_what_may_not_be_read_is_said_and_the_rest_is_there() -> None:
    people = fleet()
    people.quota = None
    people.account.fail_next("resourcegroupstaggingapi", "GetResources", *DENIED)
    people.account.fail_next("sagemaker", "DescribeEndpoint", *DENIED)  # of `chat`, the first by name
    estate = read(people)
    assert [(endpoint.name, endpoint.trouble is not None) for endpoint in estate.endpoints][:2] == [
        ("chat", True),
        ("forms", False),
    ]
    assert [said.partition(":")[0] for said in estate.unread] == ["tags", "quota, 500 is assumed"]
    assert estate.quota == Quota(limit=500, used=3, known=False)


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("sagemaker", "ListEndpoints"),
        ("application-autoscaling", "DescribeScalingPolicies"),
        ("cloudwatch", "DescribeAlarms"),
    ],
)
def test_without_endpoints_registrations_or_alarms_there_is_no_estate(service: str, operation: str) -> None:
    people = fleet()
    people.account.fail_next(service, operation, *DENIED)
    with pytest.raises(ObservationError, match="not authorized"):
        read(people)


def test_an_endpoint_that_is_deleted_meanwhile_is_left_out() -> None:
    people = fleet()
    people.account.fail_next(
        "sagemaker", "DescribeEndpoint", "ValidationException", 'Could not find endpoint "arn:...:endpoint/chat".'
    )
    assert "chat" not in [endpoint.name for endpoint in read(people).endpoints]


def test_burstable_instances_are_not_scaled() -> None:
    people = People()
    people.endpoint("small", instance_type="ml.t2.medium", workload=Idle(), provisioning_delay=timedelta(minutes=3))
    assert hosted(read(people), "small").unmanaged == "burstable instances (ml.t2) cannot be scaled automatically"
