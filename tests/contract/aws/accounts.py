"""Accounts that answer as AWS does: moto's, and the project's own simulator, stricter: in-process, over HTTP, direct."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import boto3
import pytest
from typing_extensions import override

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.sagemaker import SageMaker
from local_account.plant.server import Plant
from simulator.account import SimulatedAccount
from simulator.direct import DirectAutoscaling, DirectMetrics, DirectServing
from simulator.metrics import Measured
from simulator.workload import History
from tests.contract.aws.stubs import Client

ROLE = "arn:aws:iam::123456789012:role/model"


class Account(Protocol):
    """As much of an account as the contract needs."""

    def client(self, service: str) -> Client:
        """Return a boto3 client."""
        ...

    def add_endpoint(self, name: str, count: int, *, queued: bool = False, profile: str | None = None) -> None:
        """Make an endpoint in service with the variant AllTraffic of ml.m5.xlarge."""
        ...


@dataclass
class MotoAccount:
    session: boto3.Session
    clients: dict[str, Client] = field(default_factory=dict)

    def client(self, service: str) -> Client:
        if service not in self.clients:
            self.clients[service] = self.session.client(service)  # type: ignore[call-overload]  # any service
        return self.clients[service]

    def add_endpoint(self, name: str, count: int, *, queued: bool = False, profile: str | None = None) -> None:
        sagemaker = self.client("sagemaker")
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InitialInstanceCount": count,
            "InstanceType": "ml.m5.xlarge",
            "InitialVariantWeight": 1.0,
        }
        asynchronous: dict[str, Any] = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://out/"}}}
        sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "image"}, ExecutionRoleArn=ROLE)
        sagemaker.create_endpoint_config(
            EndpointConfigName=f"{name}-config", ProductionVariants=[variant], **(asynchronous if queued else {})
        )
        tags = [{"Key": "tidegate:profile", "Value": profile}] if profile else []
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-config", Tags=tags)


CLOCK = datetime(2026, 11, 22, 12, 1, tzinfo=UTC)
"""What the simulated clock shows; points of 11:58 have just become readable."""


class Idle:
    """A workload without traffic or metrics."""

    history = History()

    def serve(self, ready: int, desired: int, publish: Callable[[str, str, tuple[str, ...], Measured], None]) -> None:
        """Do nothing for a minute."""


@dataclass
class Simulated:
    account: SimulatedAccount = field(default_factory=lambda: SimulatedAccount(CLOCK))

    def client(self, service: str) -> Client:
        return self.account.client(service)  # type: ignore[call-overload]  # any service

    def add_endpoint(
        self, name: str, count: int, *, queued: bool = False, profile: str | None = None, quota: int | None = None
    ) -> None:
        self.account.add_endpoint(
            name=name,
            workload=Idle(),
            instance_quota=quota,
            instance_count=count,
            instance_type="ml.m5.xlarge",
            asynchronous=queued,
            tags={"tidegate:profile": profile} if profile else {},
        )


@dataclass
class Served(Simulated):
    """The same account where only HTTP reaches it."""

    plant: Plant = field(kw_only=True)

    @override
    def client(self, service: str) -> Client:
        return self.plant.client(service)


@dataclass
class Direct(Simulated):
    """The same account where adapters ask without botocore; what a test does to it goes through boto3 as ever."""


def metrics_of(account: Account) -> CloudWatch:
    """Return the adapter of CloudWatch over an account."""
    return DirectMetrics(account.account) if isinstance(account, Direct) else CloudWatch(account.client("cloudwatch"))


def autoscaling_of(account: Account) -> ApplicationAutoScaling:
    """Return the adapter of AAS over an account."""
    if isinstance(account, Direct):
        return DirectAutoscaling(account.account)
    return ApplicationAutoScaling(account.client("application-autoscaling"))


def serving_of(account: Account) -> SageMaker:
    """Return the adapter of SageMaker and of discovery by tag over an account."""
    if isinstance(account, Direct):
        return DirectServing(account.account)
    return SageMaker(lambda: account.client("sagemaker"), lambda: account.client("resourcegroupstaggingapi"))


def chosen(request: pytest.FixtureRequest) -> Account:
    """Return the account that a fixture's parameter names."""
    match request.param:
        case "moto":
            return MotoAccount(request.getfixturevalue("moto"))
        case "simulator":
            return Simulated()
        case "direct":
            return Direct()
        case "http":
            served: Served = request.getfixturevalue("served")
            return served
        case other:
            raise ValueError(other)
