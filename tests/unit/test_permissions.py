"""Rights both ways: whatever a function calls its role allows, and nothing is allowed that it never calls.

One night is played with the real handlers: the simulated account answers for AWS, the real table stands on moto, and
the policy document comes out of a real AppConfig client. Every call is noted with the function that made it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from moto import mock_aws
from typing_extensions import override

from core.aws.events import EventBus
from core.aws.policies import AppConfigPolicies
from core.aws.scheduler import Scheduler
from core.aws.store import Table
from core.learning.fit import fit
from core.model import Observation, Point, ScalableTarget
from core.policy import Fleet
from core.ports import Schedules
from core.reconcile import Outcome, Status
from env.lint_template import translate
from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.stack import FALLBACK_ROLE, MAKERS, SimulatedStack
from simulator.transport import make_client
from simulator.workload import AsyncWorkload, ComponentWorkload, NoWorkload, RealtimeWorkload
from tests import tables
from tests.rights import ACCOUNT, REGION, STAGE, Called, Deployed, called, refused, resources, unused

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


FUNCTIONS = sorted(MAKERS)
# ---- the night ----------------------------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)
EVENING = datetime(2026, 11, 18, 1, 20, tzinfo=UTC)
SURGE = [900] * 15 + [3600] * 15 + [900] * 400
NAP = {"name": "night", "start": "02:00", "duration": "30m", "min_capacity": 5}
PROFILES: dict[str, Any] = {
    "web": {
        "kind": "realtime",
        "min_capacity": 2,
        "max_capacity": 12,
        "objectives": {"requests_per_instance": 1000, "latency_p95": "30s"},
        "windows": [NAP],
    },
    "queue": {"kind": "async", "min_capacity": 0, "max_capacity": 8, "objectives": {"items_per_minute": 4}},
    "batch": {
        "kind": "batch",
        "min_capacity": 1,
        "max_capacity": 10,
        "objectives": {"requests_per_instance": 600},
        "windows": [NAP],
    },
    "llm": {
        "kind": "realtime",
        "serving": "inference_component",
        "min_capacity": 0,
        "max_capacity": 4,
        "objectives": {"requests_per_instance": 30},
    },
}
NAMED = [
    {"name": "Orders", "profile": "web"},
    {"name": "documents", "profile": "queue"},
    {"name": "invoices", "profile": "queue"},
    {"name": "scoring", "profile": "batch"},
    {"name": "assistant", "inference_component": "Chat-8B", "profile": "llm"},
    {"name": "assistant", "inference_component": "chat-70b", "profile": "llm"},
]
LEGACY = {"name": "legacy", "profile": "web", "adopt": True}


class NoCopy:
    """AppConfig always answers here."""

    def policy_copy(self) -> bytes | None:
        return None

    def put_policy_copy(self, content: bytes) -> None: ...


@dataclass(slots=True)
class Delivered:
    """AppConfig without a cache: each reading is that of a new execution environment."""

    account: SimulatedAccount
    variables: Mapping[str, str]
    endpoints: list[dict[str, Any]]
    calls: list[Called]
    trouble: str | None = None

    def keep(self) -> None:
        """Keep nothing: the table's rights are those of its other items."""

    def fleet(self) -> Fleet:
        client: Any = make_client("appconfigdata", REGION, self._answer)
        where = (
            self.variables["TIDEGATE_APPCONFIG_APPLICATION"],
            self.variables["TIDEGATE_APPCONFIG_ENVIRONMENT"],
            self.variables["TIDEGATE_APPCONFIG_PROFILE"],
        )
        provider = AppConfigProvider(environment=where[1], application=where[0], boto3_client=client)
        return AppConfigPolicies(*where, NoCopy(), provider).fleet()

    def _answer(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        (resource,) = resources("appconfigdata", operation, params)
        self.calls += called(self.account.caller, "appconfigdata", operation, params)
        if operation == "StartConfigurationSession":
            return {"InitialConfigurationToken": resource}
        document = {"version": 1, "profiles": PROFILES, "endpoints": self.endpoints}
        return {"NextPollConfigurationToken": resource, "Configuration": BytesIO(json.dumps(document).encode())}


class Stack(SimulatedStack):
    """Schedules are read through a client that notes it, as all else is."""

    @override
    def _schedules(self) -> Schedules:
        return Scheduler(lambda: self.account.client("scheduler"), self.stage, FALLBACK_ROLE)


@dataclass(slots=True)
class Night:
    """The stack and everything it called."""

    account: SimulatedAccount
    policies: Delivered
    stack: SimulatedStack
    dynamodb: "DynamoDBClient"
    table: str
    calls: list[Called]
    replies: list[dict[str, Any]] = field(default_factory=list)

    def until(self, clock: str, *, every: int = 5) -> None:
        """Let time pass; events are delivered at once, schedules tick each `every` minutes."""
        while f"{self.account.now:%H:%M}" != clock:
            for event in self.account.advance():
                self.stack.deliver(event)
            if self.account.now.minute % every == 0:
                self.stack.tick()

    def learn(self, *endpoints: str) -> None:
        """Let these have days behind them that repeat."""
        self.account.caller = ""
        now = self.account.now
        days = tuple(Point(now - n * MINUTE, 900.0 if n // 60 % 24 < 12 else 500.0) for n in range(4 * 1440, 2, -1))
        learned = fit(Observation(days), 1000.0)
        assert learned is not None
        for endpoint in endpoints:
            self.stack.store.put_learned(ScalableTarget.variant(endpoint, "AllTraffic"), learned)

    def forget(self, *endpoints: str) -> None:
        """Let what was learned be too old to be used."""
        for endpoint in endpoints:
            target = ScalableTarget.variant(endpoint, "AllTraffic")
            learned = self.stack.store.learned([target])[target]
            self.stack.store.put_learned(target, replace(learned, fitted_at=self.account.now - 30 * 60 * MINUTE))

    def override(self, subject: str, action: str, capacity: int, **more: object) -> None:
        request = {
            "request_id": f"{subject}-{action}-{capacity}",
            "action": action,
            **({} if "profile" in more else {"target": subject}),
            **more,
            "capacity": capacity,
            "expires_at": f"{self.account.now + timedelta(minutes=20):%Y-%m-%dT%H:%M:%SZ}",
            "reason": "rehearsal",
            "requested_by": "maria@example.com",
        }
        self.replies.append(self.stack.invoke("Override", request))

    def ring(self, alarm: str) -> None:
        """Let an alarm ring until it is evaluated again, and the schedules tick meanwhile."""
        self.account.cloudwatch.set_alarm_state({"AlarmName": alarm, "StateValue": "ALARM", "StateReason": "rehearsal"})
        self.stack.tick()

    def lose_the_table(self) -> None:
        """Delete every item, with nobody's rights."""
        self.account.caller = ""
        for item in self.dynamodb.scan(TableName=self.table)["Items"]:
            self.dynamodb.delete_item(TableName=self.table, Key={"pk": item["pk"], "sk": item["sk"]})

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, outcome in self.stack.outcomes]


def played(night: Night) -> None:
    """Everything that Tidegate does, once at least by each function that does it."""
    night.stack.invoke("FleetSync", {"trigger": "schedule"})  # enrols: three by name, one by tag, one by adoption
    night.learn("Orders", "scoring")  # so that targets rise, and schedules are there to take them back
    night.until("02:30")  # floors rise with the load, then windows pre-warm and open
    night.until("02:40")
    night.ring("tidegate-target-prod-realtime-Orders-AllTraffic-latency")  # and targets fall
    night.override("web", "floor", 2, profile="web", dry_run=True)  # of many at once, and all were just described
    night.until("03:25")  # windows end, floors fall, expiry actions go, what is too much is scaled in directly
    night.forget("Orders", "scoring")  # targets fall again, and the schedules go
    night.override("Orders", "ceiling", 9)
    night.until("03:30")
    night.override("Orders", "ceiling", 12)  # what the policy says anyway: the expiry of the first goes
    night.policies.endpoints.remove(LEGACY)
    night.account.endpoint("tagged").tags.clear()
    night.stack.invoke("FleetSync", {"trigger": "schedule"})  # releases by name; a tag may be a lapse
    night.until("04:05")  # it was none: the sync at 04:00 came after the grace
    for endpoint in ("Orders", "documents", "scoring"):
        night.account.endpoint(endpoint).instance_quota = 1
        night.override(endpoint, "floor", 8)  # AAS takes the bounds, SageMaker refuses the instances
    night.stack.tick()
    night.override("scoring", "floor", 9)
    night.stack.invoke("FleetSync", {"trigger": "schedule"})
    night.lose_the_table()
    night.override("scoring", "ceiling", 9)  # moves no instance, so no event brings FleetSync before the owner
    night.lose_the_table()  # with the override in it
    night.until("04:10")
    night.lose_the_table()
    night.stack.invoke("FleetSync", {"trigger": "schedule"})
    night.policies.endpoints.clear()
    night.stack.invoke("FleetSync", {"trigger": "schedule"})
    night.until("04:15")  # nobody is left


def _fill(account: SimulatedAccount) -> None:
    web: dict[str, Any] = {"instance_type": "ml.c5.xlarge", "provisioning_delay": timedelta(minutes=2)}
    for name in ("Orders", "legacy", "tagged"):
        tags = {"tidegate:profile": "web"} if name == "tagged" else {}
        load = RealtimeWorkload(per_minute_requests=SURGE, capacity_per_instance=1000)
        account.add_endpoint(name=name, workload=load, instance_count=2, tags=tags, **web)
    items = [0] * 15 + [150] + [0] * 4 + [3] * 50
    queue = AsyncWorkload(
        per_minute_requests=items,
        per_minute_work_seconds=[15.0 * n for n in items],
        objective=timedelta(minutes=15),
    )
    account.add_endpoint(name="documents", workload=queue, instance_count=0, asynchronous=True)
    account.add_endpoint(name="invoices", workload=NoWorkload(), instance_count=0, asynchronous=True)
    idle = RealtimeWorkload(per_minute_requests=[40] * 400, capacity_per_instance=600)
    account.add_endpoint(name="scoring", workload=idle, instance_count=1)
    managed = Managed(minimum=0, maximum=4)
    account.add_endpoint(name="assistant", workload=NoWorkload(), instance_count=0, managed=managed, **web)
    talk = ComponentWorkload(per_minute_requests=[0] * 10 + [80] * 20, capacity_per_instance=30)
    account.add_component(name="Chat-8B", endpoint="assistant", workload=talk, copies=0)
    silence = ComponentWorkload(per_minute_requests=[], capacity_per_instance=30)
    account.add_component(name="chat-70b", endpoint="assistant", workload=silence, copies=0)
    names = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/legacy/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    tracking = {
        "TargetValue": 500.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    for operation, params in (
        ("RegisterScalableTarget", {"MinCapacity": 2, "MaxCapacity": 6}),
        (
            "PutScalingPolicy",
            {
                "PolicyName": "by-hand",
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": tracking,
            },
        ),
        (
            "PutScheduledAction",
            {
                "ScheduledActionName": "sunday",
                "Schedule": "cron(0 9 ? * SUN *)",
                "ScalableTargetAction": {"MinCapacity": 3, "MaxCapacity": 6},
            },
        ),
    ):
        account.call("application-autoscaling", operation, {**names, **params})


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    return Deployed(translate())


@pytest.fixture(scope="module")
def night(deployed: Deployed) -> Iterator[Night]:
    with pytest.MonkeyPatch.context() as desk, ExitStack() as moto:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            desk.delenv(name)
        moto.enter_context(mock_aws())
        dynamodb = boto3.Session("testing", "testing", region_name=REGION).client("dynamodb")
        account = SimulatedAccount(EVENING, REGION, ACCOUNT)
        variables = deployed.variables("FleetSync")  # the others' are these, and owners' of how ticks are split
        assert all(variables.items() <= deployed.variables(function).items() for function in FUNCTIONS)
        table = variables["TIDEGATE_TABLE"]
        tables.create(dynamodb, table)
        calls: list[Called] = []

        def note(params: dict[str, Any], model: Any, **_: object) -> None:
            calls.extend(called(account.caller, "dynamodb", model.name, params))

        def put(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
            calls.extend(called(account.caller, "events", operation, params))
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "0"}]}

        dynamodb.meta.events.register("before-parameter-build.dynamodb", note)
        policies = Delivered(account, variables, [*NAMED, LEGACY], calls)
        bus: Any = make_client("events", REGION, put)
        stack = Stack(account, policies, stage=STAGE, store=Table(dynamodb, table), events=EventBus(lambda: bus, STAGE))
        found = Night(account, policies, stack, dynamodb, table, calls)
        _fill(account)
        played(found)
        for call in account.calls:
            calls.extend(called(call.caller, call.service, call.operation, call.params))
        yield found


# ---- both ways ----------------------------------------------------------------------------------------------------


def test_the_night_saw_everything(night: Night) -> None:
    assert night.stack.failures == []
    assert {Status.CHANGED, Status.UNCHANGED, Status.RELEASED} <= {outcome.status for outcome in night.outcomes}
    reasons = {step.reason for outcome in night.outcomes if outcome.decision for step in outcome.decision.steps}
    assert {"Load", "Backlog", "ScaleInStabilized", "WindowOpen", "StateLost", "OverrideCeiling"} <= reasons
    said = {
        " ".join(w for w in str(action).split()[:2] if w.isalpha())
        for outcome in night.outcomes
        for action in outcome.actions
    }
    assert said == {
        "set bounds",
        "let bounds",
        "remove the",
        "scale in",
        "save what",
        "put policy",
        "put alarm",
        "track",
        "let the",
        "delete policy",
        "put scheduled",
        "delete scheduled",
        "delete alarms",
        "deregister",
    }
    assert night.account.snapshot("legacy")["bounds"] == (2, 6)
    assert set(night.account.snapshot("legacy")["policies"]) == {"by-hand"}
    assert night.account.snapshot("tagged") == {}


def test_whatever_a_function_calls_is_allowed(night: Night, deployed: Deployed) -> None:
    calls = {call for call in night.calls if call.function}
    assert {call.function for call in calls} == set(FUNCTIONS)
    assert refused(deployed, calls) == set()


SELDOM_TWO_COMPONENTS = {"AsyncQueue", "BatchWindow", "Override"}
"""Components are listed by a pass over two of them: a queue is none, and no window or override of this night has two."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_allowed_that_a_function_never_calls(night: Night, deployed: Deployed, function: str) -> None:
    spare = {("sagemaker:ListInferenceComponents", "*")} if function in SELDOM_TWO_COMPONENTS else set()
    assert unused(deployed, function, set(night.calls)) == spare


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("cloudwatch", "DeleteAlarms", {"AlarmNames": ["tidegate-ops-prod-errors"]}), "an alarm on the controller"),
        (("cloudwatch", "PutMetricAlarm", {"AlarmName": "TargetTracking-x"}), "AAS writes these, not we"),
        (("dynamodb", "DeleteItem", {"TableName": "tidegate-dev"}), "another stage's table"),
        (("sagemaker", "DeleteEndpoint", {"EndpointName": "orders"}), "no endpoint is ours to delete"),
        (
            (
                "application-autoscaling",
                "RegisterScalableTarget",
                {
                    "ServiceNamespace": "ecs",
                    "ScalableDimension": "ecs:service:DesiredCount",
                },
            ),
            "not of SageMaker",
        ),
    ],
    ids=lambda seen: seen if isinstance(seen, str) else seen[1],
)
def test_the_comparison_refuses_what_it_should(
    deployed: Deployed, call: tuple[str, str, dict[str, Any]], why: str
) -> None:
    (asked,) = called("FleetSync", *call)
    assert not any(grant.allows(asked) for grant in deployed.grants("FleetSync")), why
