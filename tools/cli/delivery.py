"""Deliver a policy: a version in AppConfig, its deployment, and the first enrolment."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from cli.errors import DeliveryError
from cli.output import log

if TYPE_CHECKING:
    from mypy_boto3_appconfig import AppConfigClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient

POLL_SECONDS = 5.0
POLLS = 720
"""One hour, far beyond what a strategy of this stack takes."""

OUTPUTS = {
    "application": "AppConfigApplicationId",
    "configuration_profile": "AppConfigProfileId",
    "environment": "AppConfigEnvironmentId",
    "strategy": "AppConfigStrategyId",
    "fleet_sync": "FleetSyncFunctionName",
}
LIVE = frozenset({"BAKING", "COMPLETE"})
"""Every function reads the new version; BAKING only means that the alarms are still being watched."""

UNDONE = frozenset({"ROLLING_BACK", "ROLLED_BACK", "REVERTED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Where a stack keeps its policy: names out of its outputs."""

    application: str
    configuration_profile: str
    environment: str
    strategy: str
    fleet_sync: str


class Delivered(TypedDict):
    """What became of it, as `--json` prints it."""

    version: int
    deployment: int
    state: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a deployment."""

    state: str
    percent: float
    last_event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivers to one stack."""

    stack: Stack
    appconfig: "AppConfigClient"
    functions: "LambdaClient"
    sleep: Callable[[float], None]

    def create_version(self, document: dict[str, Any]) -> int:
        """Store the document as a new version; nobody reads it yet."""
        created = self.appconfig.create_hosted_configuration_version(
            ApplicationId=self.stack.application,
            ConfigurationProfileId=self.stack.configuration_profile,
            Content=json.dumps(document).encode(),
            ContentType="application/json",
        )
        return created["VersionNumber"]

    def start(self, version: int) -> int:
        """Start to deploy a version and return the deployment's number."""
        started = self.appconfig.start_deployment(
            ApplicationId=self.stack.application,
            EnvironmentId=self.stack.environment,
            DeploymentStrategyId=self.stack.strategy,
            ConfigurationProfileId=self.stack.configuration_profile,
            ConfigurationVersion=str(version),
        )
        return started["DeploymentNumber"]

    def watch(self, deployment: int) -> Iterator[Progress]:
        """Yield what the deployment does until it is complete.

        Raises:
            DeliveryError: it was rolled back, or is not complete after an hour.
        """
        for _ in range(POLLS):
            seen = self.appconfig.get_deployment(
                ApplicationId=self.stack.application,
                EnvironmentId=self.stack.environment,
                DeploymentNumber=deployment,
            )
            events = seen.get("EventLog", [])
            last = events[0].get("Description", "") if events else ""
            state = seen["State"]
            if state in UNDONE:
                raise DeliveryError(
                    f"deployment {deployment} was rolled back ({last or state}); the version before it is in force. "
                    "Look at the alarms whose names begin with tidegate-ops, correct the file and push again."
                )
            yield Progress(state, seen.get("PercentageComplete", 0.0), last)
            if state == "COMPLETE":
                return
            self.sleep(POLL_SECONDS)
        raise DeliveryError(f"deployment {deployment} is not complete after an hour: see the AppConfig console.")

    def deliver(
        self, document: dict[str, Any], in_force: Callable[[int], None], *, wait: bool, say: Callable[[str], None] = log
    ) -> Delivered:
        """Create a version, deploy it, act as soon as it is in force, and watch its alarms with AppConfig.

        Args:
            document: what is delivered.
            in_force: called once with the version when every function can read it.
            wait: until AppConfig has finished watching; without it until `in_force` is done.
            say: told that it began; what AppConfig does is told on stderr.

        Raises:
            DeliveryError: as `watch`; and what `in_force` raises.
        """
        version = self.create_version(document)
        deployment = self.start(version)
        say(f"Version {version} of the policy: deployment {deployment} started.")
        acted, said = False, ""
        for progress in self.watch(deployment):
            if progress.state != said:
                said = progress.state
                log(f"{said} ({progress.percent:.0f}%){': ' * bool(progress.last_event)}{progress.last_event}")
            if progress.state in LIVE and not acted:
                in_force(version)
                acted = True
                if not wait:
                    break
        return {"version": version, "deployment": deployment, "state": said}

    def enrol(self) -> None:
        """Let FleetSync enrol what the policy names now rather than within the hour."""
        self.functions.invoke(
            FunctionName=self.stack.fleet_sync, InvocationType="Event", Payload=json.dumps({"trigger": "policy"})
        )


def find_stack(cloudformation: "CloudFormationClient", name: str) -> Stack:
    """Read the names that delivery needs from a stack's outputs.

    Raises:
        DeliveryError: the stack lacks some of them.
    """
    return Stack(**outputs_of(cloudformation, name, OUTPUTS))


def outputs_of(cloudformation: "CloudFormationClient", name: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Read outputs of a stack: `wanted` maps what they are called here to their keys.

    Raises:
        DeliveryError: the stack lacks some of them.
    """
    described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {o.get("OutputKey", ""): o.get("OutputValue", "") for o in described.get("Outputs", [])}
    if missing := [key for key in wanted.values() if not outputs.get(key)]:
        raise DeliveryError(
            f"stack {name} has no output {', '.join(missing)}: is it Tidegate's, and up to date? "
            "Deploy it with `sam deploy`, or name another with --stack."
        )
    return {field: outputs[key] for field, key in wanted.items()}
