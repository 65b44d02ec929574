"""The embedded account: the real template deployed here, its Lambdas run as built, AWS simulated around them."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local_account.clock import ClockFile
from local_account.deployed import NOTHING, Deployed, read_stack, revision
from local_account.emulator import RUNTIME, Emulator
from local_account.environment import client, pointing_at
from local_account.plant.server import SERVICES, Plant
from local_account.pump import Invocation, InvocationFailed, Pump
from local_account.rights import Rights
from local_account.rundir import run_directory
from local_account.sam import STACK, Sam, runtime_of
from simulator.account import SimulatedAccount
from simulator.events import Event

__all__ = ["Invocation", "InvocationFailed", "LocalAccount"]

PLATFORM = (
    "appconfig",
    "cloudformation",
    "cloudtrail",
    "cloudwatch",
    "dynamodb",
    "events",
    "iam",
    "lambda",
    "logs",
    "scheduler",
    "sns",
    "sqs",
)


class LocalAccount:
    """One account on this machine, alone on its ports and in its folder.

    Args:
        account: the simulated services; its endpoints may be added before or after.
        sam: the SAM CLI.
        ministack_python: interpreter of MiniStack's environment; it runs the Lambdas, too.
        say: told what is being done.
        parameters: of the template, besides those of the local stage.
        artefact: a directory built for another account, instead of a build.
        record: whether the emulator keeps its calls (CloudTrail), and the plant its own.
    """

    def __init__(  # noqa: PLR0913 - all but three have a default
        self,
        account: SimulatedAccount,
        *,
        sam: Path,
        ministack_python: Path,
        say: Callable[[str], None] = print,
        parameters: Mapping[str, str] | None = None,
        artefact: Path | None = None,
        record: bool = False,
    ) -> None:
        self.account = account
        self.parameters = dict(parameters or {})
        self._sam_executable = sam.absolute()
        self._python = ministack_python.absolute()
        self._artefact = artefact
        self._record = record
        self._say = say
        self._ends = contextlib.ExitStack()
        self.region = account.cloudwatch.world.region
        self.plant: Plant
        self.emulator: Emulator
        self.sam: Sam
        self.rights: Rights
        self.aws: Mapping[str, Any]
        self.folder: Path
        self.pump: Pump

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process, close every port, remove the folder."""
        self._ends.close()

    # ---- what is deployed --------------------------------------------------------------------------------------------

    @property
    def endpoint_url(self) -> str:
        """Where the platform services are; the simulated ones are at `plant.url`."""
        return self.emulator.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead any AWS tool to this account, and the command line to its time."""
        return {**self._pointers, "PYTHONPATH": str(RUNTIME), "TIDEGATE_RUN_DIRECTORY": str(self.folder)}

    @property
    def _pointers(self) -> dict[str, str]:
        return pointing_at(self.emulator.url, self.plant.url, self.region)

    @property
    def deployed(self) -> Deployed:
        """The stack."""
        return self.pump.stack

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return self.deployed.outputs

    def deploy(self, **parameters: str) -> None:
        """Update the stack with these parameters besides the earlier ones, and take it over again."""
        self.parameters |= parameters
        self.sam.deploy(self.parameters)
        self.take_over()

    def take_over(self) -> None:
        """Read the deployed stack, and take from the emulator what would happen in real time there.

        Schedules go on in simulated time, alarms move to where their metrics are, and a policy is in force as soon as
        it is pushed, without ten minutes of watching.
        """
        self._replace(read_stack(self.aws, STACK, self.account.now))
        self.aws["appconfig"].update_deployment_strategy(
            DeploymentStrategyId=self.outputs["AppConfigStrategyId"],
            FinalBakeTimeInMinutes=0,  # minutes of the emulator are real ones, in which nobody else could deploy
        )

    def take_over_if_updated(self) -> bool:
        """Take the stack over again if somebody else has updated, deleted or made it; say whether."""
        found = self.aws["cloudformation"].describe_stacks()["Stacks"]
        states = [stack for stack in found if stack["StackName"] == STACK and stack["StackStatus"] != "DELETE_COMPLETE"]
        if any(not stack["StackStatus"].endswith("COMPLETE") for stack in states):
            return False
        if [revision(stack) for stack in states] == [self.deployed.revision] * bool(self.deployed.revision):
            return False
        if states:
            self.take_over()
        else:
            self._replace(NOTHING)
        return True

    def delete(self) -> None:
        """Delete the stack: pushed versions of the policy first, which CloudFormation does not know, as on AWS."""
        application, profile = self.outputs["AppConfigApplicationId"], self.outputs["AppConfigProfileId"]
        appconfig = self.aws["appconfig"]
        found = appconfig.list_hosted_configuration_versions(ApplicationId=application, ConfigurationProfileId=profile)[
            "Items"
        ]
        for version in found:
            if version["VersionNumber"] > 1:  # the first one is the stack's own
                appconfig.delete_hosted_configuration_version(
                    ApplicationId=application, ConfigurationProfileId=profile, VersionNumber=version["VersionNumber"]
                )
        self.sam.delete()
        self._replace(NOTHING)

    def client(self, service: str) -> Any:  # noqa: ANN401 - one function for clients of all services
        """Return a boto3 client of this account's administrator; close it, or leave it to the end of the process."""
        url = self.plant.url if service in SERVICES else self.emulator.url
        return client(service, url, self.region)

    # ---- what happens in it ------------------------------------------------------------------------------------------

    @property
    def invocations(self) -> Counter[str]:
        """How often each function was invoked, by its logical ID without "Function"."""
        return self.pump.invocations

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Function and error of each invocation that failed in `minute`."""
        return self.pump.failures

    def push_policy(self, document: Mapping[str, Any]) -> int:
        """Deliver a fleet document through AppConfig and return its version.

        Do it before the first invocation, or call `restart_functions`: a warm Lambda goes on with what it has read for
        45 s of real time.
        """
        appconfig, outputs = self.aws["appconfig"], self.outputs
        profile = {
            "ApplicationId": outputs["AppConfigApplicationId"],
            "ConfigurationProfileId": outputs["AppConfigProfileId"],
        }
        version: int = appconfig.create_hosted_configuration_version(
            **profile, Content=json.dumps(document).encode(), ContentType="application/json"
        )["VersionNumber"]
        appconfig.start_deployment(
            **profile,
            EnvironmentId=outputs["AppConfigEnvironmentId"],
            ConfigurationVersion=str(version),
            DeploymentStrategyId=outputs["AppConfigStrategyId"],
        )
        return version

    def restart_functions(self) -> None:
        """Let every function begin with new, cold Lambda environments, as any change of its configuration does."""
        for name in self.deployed.functions.values():
            configured = self.aws["lambda"].get_function_configuration(FunctionName=name)
            self.aws["lambda"].update_function_configuration(FunctionName=name, Timeout=configured["Timeout"])

    def invoke(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function by its logical ID without "Function", as in "FleetSync".

        Raises:
            InvocationFailed: if it ended with an error.
        """
        return self.pump.invoke(function, event)

    def minute(self) -> list[Event]:
        """Let one simulated minute pass and return the events AWS sent in it."""
        return self.pump.minute()

    # ---- start -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        account = self.account
        self.folder = self._ends.enter_context(run_directory())
        clock = ClockFile(self.folder / "clock", account.now)
        self._ends.callback(clock.close)
        self.plant = Plant(account, authorise=self._authorise, record_calls=self._record)
        self._ends.enter_context(self.plant)
        simulated = pointing_at("", self.plant.url, self.region)
        variables = {key: value for key, value in simulated.items() if key.startswith("AWS_ENDPOINT_URL_")}
        variables |= {
            "MINISTACK_ACCOUNT_ID": account.cloudwatch.world.account_id,
            "CLOUDTRAIL_RECORDING": str(int(self._record)),
        }
        self.emulator = Emulator(self._python, self.folder, variables)
        self._ends.callback(self.emulator.stop)
        self.emulator.launch()
        self._say("sam build: the Lambda artefact, for this machine")
        runtime = runtime_of(self._python)
        builder = Sam(executable=self._sam_executable, folder=self.folder, runtime=runtime, artefact=self._artefact)
        with ThreadPoolExecutor(1) as beside:
            ready = beside.submit(self.emulator.wait)
            builder.build()
            ready.result()
        self.sam = replace(builder, variables=self._pointers)
        self.aws = {service: client(service, self.emulator.url, self.region) for service in PLATFORM}
        for each in self.aws.values():
            self._ends.callback(each.close)
        self.rights = Rights(self.folder / "callers", self.aws["iam"], self.region, account.cloudwatch.world.account_id)
        self.pump = Pump(self.plant, clock, self.aws, self.rights, NOTHING)
        self._say(f"sam deploy: template.yaml into the embedded account at {self.emulator.url}")
        self.deploy()

    def _authorise(self, access_key: str, service: str, operation: str, params: Mapping[str, Any]) -> bool:
        return self.rights.authorise(access_key, service, operation, params)

    def _replace(self, stack: Deployed) -> None:
        """Go on with this stack. Its alarms are made in the simulator, where their metrics are."""
        before = {alarm["AlarmName"] for alarm in self.deployed.alarms}
        gone = sorted(before - {alarm["AlarmName"] for alarm in stack.alarms})
        with self.plant.lock:
            for alarm in stack.alarms:
                self.account.call("cloudwatch", "PutMetricAlarm", alarm)
            if gone:
                self.account.call("cloudwatch", "DeleteAlarms", {"AlarmNames": gone})
        self.rights.roles = stack.roles
        self.rights.forget()
        self.pump.stack = stack
