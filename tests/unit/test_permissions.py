"""Rights both ways: whatever a function calls its role allows, and nothing is allowed that it never calls.

One night is played with the real handlers: the simulated account answers for AWS, the real table stands on moto, and
the policy document comes out of a real AppConfig client. Every call is noted with the function that made it.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from moto import mock_aws

from core.aws.events import EventBus
from core.aws.policies import AppConfigPolicies
from core.aws.store import Table
from core.policy import Fleet
from core.reconcile import Outcome, Status
from env.lint_template import translate
from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.stack import MAKERS, SimulatedStack
from simulator.transport import make_client
from simulator.workload import AsyncWorkload, ComponentWorkload, NoWorkload, RealtimeWorkload
from tests import tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


ROOT = Path(__file__).resolve().parents[2]
REGION, ACCOUNT, STAGE = "eu-central-1", "123456789012", "prod"
FUNCTIONS = sorted(MAKERS)
LAMBDAS_OWN = {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
"""What Lambda does on the function's behalf: logging, and keeping what failed."""

SAGEMAKERS = {
    "EndpointConfigName": "endpoint-config",
    "InferenceComponentName": "inference-component",
    "EndpointName": "endpoint",
}
"""What a parameter names, by its name."""

IAM_PREFIX = {"resourcegroupstaggingapi": "tag", "appconfigdata": "appconfig"}
"""Where IAM calls a service otherwise than boto3 does."""


# ---- what is called -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Called:
    """One API call as IAM sees it; `on` is "*" where AWS knows no resources for the action."""

    function: str
    action: str
    on: str
    context: tuple[tuple[str, str], ...] = ()


def called(function: str, service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Called]:
    """Yield the call once for each resource it touches."""
    action = f"{IAM_PREFIX.get(service, service)}:{operation}"
    context: tuple[tuple[str, str], ...] = ()
    if service == "application-autoscaling" and not operation.startswith("Describe"):
        context = (
            ("application-autoscaling:service-namespace", params["ServiceNamespace"]),
            ("application-autoscaling:scalable-dimension", params["ScalableDimension"]),
        )
    if (service, operation) == ("events", "PutEvents"):
        context = tuple(("events:source", entry["Source"]) for entry in params["Entries"])
    for resource in _resources(service, operation, params):
        on = "*" if resource == "*" else f"arn:aws:{IAM_PREFIX.get(service, service)}:{REGION}:{ACCOUNT}:{resource}"
        yield Called(function, action, on, context)


def _resources(service: str, operation: str, params: Mapping[str, Any]) -> list[str]:
    found = ["*"]
    match service, operation:
        case "application-autoscaling", name if not name.startswith("Describe"):
            found = ["scalable-target/0ec5a1b2c3d4"]  # an opaque ID that nobody can compute
        case "sagemaker", _:
            named = (f"{kind}/{params[key].lower()}" for key, kind in SAGEMAKERS.items() if key in params)
            found = [next(named, "*")]
        case "cloudwatch", "PutMetricAlarm":
            found = [f"alarm:{params['AlarmName']}"]
        case "cloudwatch", "DeleteAlarms":
            found = [f"alarm:{name}" for name in params["AlarmNames"]]
        case "dynamodb", _:
            tables = params["RequestItems"] if operation == "BatchGetItem" else [params["TableName"]]
            found = [f"table/{name}" for name in tables]
        case "events", "PutEvents":
            found = ["event-bus/default"]
        case "appconfigdata", "StartConfigurationSession":
            ids = (params[f"{part}Identifier"] for part in ("Application", "Environment", "ConfigurationProfile"))
            found = ["application/{}/environment/{}/configuration/{}".format(*ids)]
        case "appconfigdata", _:
            found = [params["ConfigurationToken"]]  # `Delivered` puts the resource into it
        case _:
            pass
    return found


# ---- what is allowed ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """One action of one statement of a role."""

    action: str
    on: tuple[str, ...]
    condition: tuple[tuple[str, tuple[str, ...]], ...]
    """Keys, and the values of which the call must have one."""

    def allows(self, call: Called) -> bool:
        return (
            self.action == call.action
            and any(fnmatchcase(call.on, pattern) for pattern in self.on)
            and all(dict(call.context).get(key) in wanted for key, wanted in self.condition)
        )


class Deployed:
    """The template as it is in one account, Region and stage; a resource's ID is its logical name."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._resources = template["Resources"]
        self._known = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "Stage": STAGE,
            "Table": f"tidegate-{STAGE}",
            "Table.Arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/tidegate-{STAGE}",
        }

    def value(self, value: Any) -> str:
        """Return what CloudFormation would put in place of `value`."""
        match value:
            case {"Ref": str(name)}:
                return self._known.get(name, name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._known.get(f"{name}.{attribute}", f"arn:aws:other:::{name}")
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: self._known.get(found[1], found[1]), text)
            case str(text):
                return text
            case _:
                raise AssertionError(f"teach Deployed.value this: {value}")

    def variables(self, function: str) -> dict[str, str]:
        declared = self._resources[f"{function}Function"]["Properties"]["Environment"]["Variables"]
        return {name: self.value(value) for name, value in declared.items()}

    def grants(self, function: str) -> list[Grant]:
        role = self._resources[f"{function}Role"]["Properties"]
        attached = [self._resources[each["Ref"]]["Properties"] for each in role.get("ManagedPolicyArns", ())]
        statements = [s for policy in (*attached, *role["Policies"]) for s in policy["PolicyDocument"]["Statement"]]
        return [
            Grant(action, tuple(map(self.value, _list(statement["Resource"]))), self._condition(statement))
            for statement in statements
            for action in _list(statement["Action"])
        ]

    def _condition(self, statement: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        condition = statement.get("Condition", {})
        operators = {"StringEquals", "StringEqualsIfExists"}  # of the keys here AWS sends each
        assert set(condition) <= operators, "teach Grant.allows this operator"
        equals = [each for operator in operators for each in condition.get(operator, {}).items()]
        return tuple((key, tuple(map(self.value, _list(wanted)))) for key, wanted in equals)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- the night ----------------------------------------------------------------------------------------------------

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
    "batch": {"kind": "batch", "min_capacity": 1, "max_capacity": 10, "windows": [NAP]},
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
        (resource,) = _resources("appconfigdata", operation, params)
        self.calls += called(self.account.caller, "appconfigdata", operation, params)
        if operation == "StartConfigurationSession":
            return {"InitialConfigurationToken": resource}
        document = {"version": 1, "profiles": PROFILES, "endpoints": self.endpoints}
        return {"NextPollConfigurationToken": resource, "Configuration": BytesIO(json.dumps(document).encode())}


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
    night.until("02:30")  # floors rise with the load, then windows pre-warm and open
    night.until("02:40")
    night.ring("tidegate-target-prod-realtime-Orders-AllTraffic-latency")  # and targets fall
    night.override("web", "floor", 2, profile="web", dry_run=True)  # of many at once, and all were just described
    night.until("03:25")  # windows end, floors fall, expiry actions go, what is too much is scaled in directly
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
        variables = deployed.variables("FleetSync")
        assert {function: deployed.variables(function) for function in FUNCTIONS} == dict.fromkeys(FUNCTIONS, variables)
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
        stack = SimulatedStack(
            account, policies, stage=STAGE, store=Table(dynamodb, table), events=EventBus(lambda: bus, STAGE)
        )
        found = Night(account, policies, stack, dynamodb, table, calls)
        _fill(account)
        played(found)
        for call in account.calls:
            calls.extend(called(call.caller, call.service, call.operation, call.params))
        yield found


# ---- both ways ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aas_uses() -> set[tuple[str, str]]:
    """Function and action of each right that AAS uses when we call it."""
    rights = json.loads((ROOT / "docs/aas-probe-rights.json").read_text(encoding="utf-8"))["rights"]
    return {(function, right["action"]) for right in rights for function in right["functions"]}


def test_the_night_saw_everything(night: Night) -> None:
    assert night.stack.failures == []
    assert {Status.CHANGED, Status.UNCHANGED, Status.RELEASED} <= {outcome.status for outcome in night.outcomes}
    reasons = {step.reason for outcome in night.outcomes if outcome.decision for step in outcome.decision.steps}
    assert {"Load", "Backlog", "ScaleInStabilized", "WindowOpen", "StateLost", "OverrideCeiling"} <= reasons
    said = {" ".join(str(action).split()[:2]) for outcome in night.outcomes for action in outcome.actions}
    assert said == {
        "set bounds",
        "let bounds",
        "remove the",
        "scale in",
        "save what",
        "put policy",
        "put alarm",
        "take an",
        "delete policy",
        "put scheduled",
        "delete scheduled",
        "delete alarms",
        "deregister",
    }
    assert night.account.snapshot("legacy")["bounds"] == (2, 6)
    assert set(night.account.snapshot("legacy")["policies"]) == {"by-hand"}
    assert night.account.snapshot("tagged") == {}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_a_function_calls_is_allowed(night: Night, deployed: Deployed, function: str) -> None:
    grants = deployed.grants(function)
    refused = {c for c in night.calls if c.function == function and not any(g.allows(c) for g in grants)}
    assert refused == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_allowed_that_a_function_never_calls(
    night: Night, deployed: Deployed, aas_uses: set[tuple[str, str]], function: str
) -> None:
    calls = {call for call in night.calls if call.function == function}
    unused = {
        (grant.action, *grant.on)
        for grant in deployed.grants(function)
        if grant.action not in LAMBDAS_OWN
        and (function, grant.action) not in aas_uses
        and not any(grant.allows(call) for call in calls)
    }
    assert unused == set()


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
