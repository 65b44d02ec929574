"""A stack in a simulated account, and the clients of a person at a desk who delivers to it."""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from cli.main import app
from core.aws import clock
from core.aws.store import Table
from core.model import Mode, ScalableTarget
from core.policy import Fleet, parse_fleet
from simulator.account import SimulatedAccount
from simulator.invoke import FLEET, small_fleet
from simulator.stack import SimulatedStack
from simulator.workload import RealtimeWorkload
from tests import tables

NOW = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)
NAMED = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
EMPTY: dict[str, Any] = {"version": 1}
REALTIME: dict[str, Any] = {
    "kind": "realtime",
    "min_capacity": 2,
    "max_capacity": 8,
    "objectives": {"requests_per_instance": 600},
}


@dataclass
class InForce:
    """The port `PolicySource` over whatever was delivered last; keeps the copy that a pass keeps."""

    table: Table
    content: bytes = b'{"version": 1}'
    trouble: str | None = None

    def fleet(self) -> Fleet:
        return parse_fleet(json.loads(self.content))

    def keep(self) -> None:
        self.table.put_policy_copy(self.content)


@dataclass
class Desk:
    """CloudFormation, AppConfig, STS and Lambda in place of a deployed stack; DynamoDB is moto's, the rest simulated."""

    stack: SimulatedStack
    dynamodb: Any
    in_force: InForce
    mode: Mode
    versions: list[bytes] = field(default_factory=list)
    invoked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    table: str = "tidegate"
    states: list[str] = field(default_factory=lambda: ["DEPLOYING", "BAKING", "COMPLETE"])
    meanwhile: int = 0
    """Minutes that pass whenever somebody sleeps."""

    disturb: Callable[[], None] = lambda: None
    """What somebody else does then."""

    @property
    def account(self) -> SimulatedAccount:
        return self.stack.account

    def of(self, service: str) -> Any:
        simulated = {"application-autoscaling", "sagemaker", "cloudwatch", "resourcegroupstaggingapi", "scheduler"}
        if service in simulated:
            return self.account.client(service)  # type: ignore[call-overload]  # a name, not a literal
        return self.dynamodb if service == "dynamodb" else self

    def run(self, *arguments: str, answer: str | None = None, width: int = 400) -> Result:
        """The command line with these clients, at the account's time."""
        said = [*arguments, "--stack", "tidegate"]
        with self.its_time():
            return CliRunner().invoke(app, said, obj=self, input=answer, env={"COLUMNS": str(width)})

    @contextmanager
    def its_time(self) -> Iterator[None]:
        """Whoever asks for the time is told the account's."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", lambda: self.account.now)
            yield

    def sleep(self, _: float) -> None:
        for _ in range(self.meanwhile):
            self.stack.minute()
        self.disturb()

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.stack.minute()
        assert self.stack.failures == []

    def later(self, span: timedelta) -> None:
        """Let time pass."""
        self.minutes(span // timedelta(minutes=1))

    # ---- clients, as boto3 names what they take ----------------------------------------------------------------------

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        outputs = {
            "AppConfigApplicationId": "app1",
            "AppConfigProfileId": "prof1",
            "AppConfigEnvironmentId": "env1",
            "AppConfigStrategyId": "strat1",
            "FleetSyncFunctionName": "FleetSync",
            "OverrideFunctionName": "Override",
            "TableName": self.table,
        }
        given = {"Stage": "prod", "Mode": self.mode.value}
        return {
            "Stacks": [
                {
                    "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()],
                    "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
                }
            ]
        }

    def get_service_quota(self, **_: str) -> dict[str, Any]:
        return {"Quota": {"Value": 500.0}}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/ops/maria"}

    def start_configuration_session(self, **_: str) -> dict[str, str]:
        return {"InitialConfigurationToken": "t"}

    def get_latest_configuration(self, **_: str) -> dict[str, Any]:
        return {"Configuration": io.BytesIO(self.in_force.content)}

    def create_hosted_configuration_version(self, **asked: Any) -> dict[str, int]:
        self.versions.append(asked["Content"])
        return {"VersionNumber": len(self.versions)}

    def start_deployment(self, **asked: Any) -> dict[str, int]:
        self.deploying = iter(self.states)
        self.coming = self.versions[int(asked["ConfigurationVersion"]) - 1]
        return {"DeploymentNumber": 3}

    def get_deployment(self, **_: Any) -> dict[str, Any]:
        state = next(self.deploying)
        if state in {"BAKING", "COMPLETE"}:
            self.in_force.content = self.coming
        return {"State": state, "PercentageComplete": 100.0, "EventLog": []}

    def invoke(self, **asked: Any) -> dict[str, Any]:
        event = json.loads(asked["Payload"])
        self.invoked.append((asked["FunctionName"], event))
        try:
            reply = self.stack.invoke(asked["FunctionName"], event)
        except Exception as error:  # noqa: BLE001 - as Lambda answers it
            said = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(said).encode())}
        return {"Payload": io.BytesIO(json.dumps(reply).encode())}


TABLES = (f"tidegate-{number}" for number in count(1))
"""Moto is one account for all that are open at a time."""


@contextmanager
def small_desk() -> Iterator[Desk]:
    """The small fleet of `simulator.invoke`, half an hour after it was enrolled; nobody has looked at it since."""
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        name = next(TABLES)
        tables.create(dynamodb, name)
        table = Table(dynamodb, name)
        in_force = InForce(table, json.dumps(FLEET).encode())
        yield Desk(small_fleet(table), dynamodb, in_force, Mode.ACTIVE, table=name)


@contextmanager
def desk(mode: Mode = Mode.ACTIVE, name: str = "tidegate") -> Iterator[Desk]:
    """A stack that manages nothing yet, in an account with `orders`, `chat` and `search`, each of two instances."""
    account = SimulatedAccount(NOW)
    for each in ("orders", "chat", "search"):
        account.add_endpoint(
            name=each,
            workload=RealtimeWorkload(per_minute_requests=[500] * 3000, capacity_per_instance=600),
            instance_type="ml.c5.xlarge",
            instance_count=2,
        )
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        tables.create(dynamodb, name)
        table = Table(dynamodb, name)
        in_force = InForce(table)
        stack = SimulatedStack(account, in_force, stage="prod", mode=mode, store=table)
        for _ in range(15):
            account.advance()
        yield Desk(stack, dynamodb, in_force, mode, table=name)


def by_hand(account: SimulatedAccount, endpoint: str, bounds: tuple[int, int] = (1, 6)) -> Mapping[str, Any]:
    """Scale an endpoint as a person does: tracking, a step policy with an alarm of its own, a nightly minimum."""
    aas, cloudwatch = account.client("application-autoscaling"), account.client("cloudwatch")
    here: Any = {**NAMED, "ResourceId": ScalableTarget.variant(endpoint, "AllTraffic").resource_id}
    aas.register_scalable_target(**here, MinCapacity=bounds[0], MaxCapacity=bounds[1])
    aas.put_scaling_policy(
        **here,
        PolicyName=f"{endpoint}-invocations",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 420.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleInCooldown": 600,
        },
    )
    step = aas.put_scaling_policy(
        **here,
        PolicyName=f"{endpoint}-cpu-out",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 2}],
            "Cooldown": 300,
        },
    )["PolicyARN"]
    cloudwatch.put_metric_alarm(
        AlarmName=f"{endpoint}-cpu-high",
        Namespace="/aws/sagemaker/Endpoints",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=3,
        Threshold=280.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[step],
    )
    aas.put_scheduled_action(
        **here,
        ScheduledActionName=f"{endpoint}-night",
        Schedule="cron(0 22 * * ? *)",
        Timezone="Europe/Berlin",
        ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 3},
    )
    return account.snapshot(endpoint)


@contextmanager
def scaled_by_hand() -> Iterator[Desk]:
    """The account of `desk`, in which `orders` is scaled by hand; at its time."""
    with desk() as made, made.its_time():
        by_hand(made.account, "orders")
        yield made


@contextmanager
def adopted() -> Iterator[Desk]:
    """The same after Tidegate has taken `orders` over."""
    with scaled_by_hand() as made:
        made.in_force.content = json.dumps(document({"name": "orders", "adopt": True})).encode()
        made.stack.invoke("FleetSync", {"trigger": "policy"})
        yield made


def document(*endpoints: Mapping[str, Any], **profile: Any) -> dict[str, Any]:
    """A document of these endpoints, all in the profile `p`."""
    return {
        "version": 1,
        "profiles": {"p": {**REALTIME, **profile}},
        "endpoints": [{"profile": "p", **endpoint} for endpoint in endpoints],
    }
