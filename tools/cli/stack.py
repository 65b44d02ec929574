"""A deployed stack as a person at a desk sees it: its settings, the document in force, and core's own planning over it.

Everything here only reads: what core's code would write on the way is refused.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, cast

from cli.delivery import OUTPUTS as DELIVERED_BY
from cli.errors import DeliveryError
from cli.estate import Source
from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.sagemaker import SageMaker
from core.aws.scheduler import Scheduler
from core.aws.store import Table
from core.errors import ActuationError
from core.fleet import FleetSync
from core.model import Mode, ScalableTarget
from core.policy import Fleet
from core.ports import Original, Place, StateStore
from core.reconcile import Outcome, Pass, Ports, Reconciler

OUTPUTS = {**DELIVERED_BY, "override": "OverrideFunctionName", "table": "TableName"}
TAGGING = "resourcegroupstaggingapi"
WRITES = frozenset(
    {
        *("put_override", "tell_override", "claim", "record", "forget", "put_decision", "put_learned", "put_roster"),
        *("put_original", "put_policy_copy", "put_alarm", "delete_alarms", "register", "deregister", "put_policy"),
        *("delete_policy", "put_scheduled_action", "delete_scheduled_action", "set_count", "tell", "keep"),
        *("put", "delete"),
    }
)
"""What of `core.ports` writes."""


class ReadOnly:
    """A port that asks each question once and refuses to write: two plans made over it saw the same account."""

    def __init__(self, port: object) -> None:
        self._port = port
        self._known: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in WRITES:
            raise ActuationError(f"{name}: a plan writes nothing")

        def ask(*args: object, **named: object) -> Any:  # noqa: ANN401 - whatever the port answers
            question = f"{name}{args!r}{named!r}"
            if question not in self._known:
                self._known[question] = getattr(self._port, name)(*args, **named)
            return self._known[question]

        return ask


class Remembering:
    """A store in which this record of what stood before is kept."""

    def __init__(self, store: StateStore, record: Original | None) -> None:
        self._store = store
        self._record = record

    def original(self, _: ScalableTarget) -> Original | None:
        """Return it, whatever the store has."""
        return self._record

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)


@dataclass(frozen=True, slots=True)
class Given:
    """The port `PolicySource` over a document that is at hand."""

    document: Fleet
    trouble: str | None = None

    def fleet(self) -> Fleet:
        """Return it."""
        return self.document

    def keep(self) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedStack:
    """A stack, read once."""

    name: str
    stage: str
    mode: Mode
    outputs: Mapping[str, str]
    """As `OUTPUTS` calls them."""

    aws: Source
    table: Table
    ports: Ports
    """Read only, and each question is asked once."""

    @classmethod
    def read(cls, aws: Source, name: str, clock: Callable[[], datetime]) -> "DeployedStack":
        """Read settings and outputs of a stack.

        Raises:
            DeliveryError: it is not Tidegate's, or of another release.
        """
        described = aws.of("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        found = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", ())}
        given = {each["ParameterKey"]: each.get("ParameterValue", "") for each in described.get("Parameters", ())}
        lacks = [key for key in OUTPUTS.values() if not found.get(key)]
        lacks += [key for key in ("Stage", "Mode") if key not in given]
        if lacks:
            raise DeliveryError(
                f"stack {name} has no {', '.join(lacks)}: is it Tidegate's, and up to date? "
                "Deploy it with `sam deploy`, or name another with --stack."
            )
        outputs = {field: found[key] for field, key in OUTPUTS.items()}
        table = Table(aws.of("dynamodb"), outputs["table"])
        ports: Mapping[str, Any] = {
            "policies": ReadOnly(None),
            "store": ReadOnly(table),
            "metrics": ReadOnly(CloudWatch(aws.of("cloudwatch"))),
            "autoscaling": ReadOnly(ApplicationAutoScaling(aws.of("application-autoscaling"))),
            "schedules": ReadOnly(Scheduler(cache(partial(aws.of, "scheduler")), given["Stage"], role="")),
            "serving": ReadOnly(SageMaker(cache(partial(aws.of, "sagemaker")), cache(partial(aws.of, TAGGING)))),
            "events": ReadOnly(None),
        }
        return cls(
            name=name,
            stage=given["Stage"],
            mode=Mode(given["Mode"]),
            outputs=outputs,
            aws=aws,
            table=table,
            ports=Ports(**ports, clock=clock),
        )

    def document(self) -> dict[str, Any]:
        """Return the document in force, as a function that starts now would read it."""
        reader = self.aws.of("appconfigdata")
        token = reader.start_configuration_session(
            ApplicationIdentifier=self.outputs["application"],
            EnvironmentIdentifier=self.outputs["environment"],
            ConfigurationProfileIdentifier=self.outputs["configuration_profile"],
        )["InitialConfigurationToken"]
        content = reader.get_latest_configuration(ConfigurationToken=token)["Configuration"].read()
        return cast("dict[str, Any]", json.loads(content))

    def roster(self) -> Mapping[ScalableTarget, Place]:
        """Return what is enrolled, with its place."""
        return self.ports.store.roster() or {}

    def planned(self, fleet: Fleet, now: datetime) -> Sequence[Outcome]:
        """Return what FleetSync would do if this document were in force: core's own pass, as a dry run.

        Raises:
            ObservationError, ConfigError: as the pass does.
        """
        return self._sync(replace(self.ports, policies=Given(fleet))).run(_dry(now))

    def release_of(self, target: ScalableTarget, now: datetime, record: Original | None) -> Outcome:
        """Return what FleetSync would do to give a target back by this record of what stood before."""
        store = cast("StateStore", Remembering(self.ports.store, record))
        return self._sync(replace(self.ports, store=store)).release(target, _dry(now))

    def _sync(self, ports: Ports) -> FleetSync:
        return FleetSync(Reconciler(ports, stage=self.stage, mode=self.mode))


def _dry(now: datetime) -> Pass:
    return Pass(now=now, deadline=now + timedelta(hours=1), holder="a plan", dry_run=True)
