"""One pass of a deployed function over the wire, and what it left behind, target by target."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools.utilities.parameters import AppConfigProvider

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.events import EventBus
from core.aws.policies import AppConfigPolicies
from core.aws.sagemaker import SageMaker
from core.aws.scheduler import Scheduler
from core.aws.store import Table, unpacked
from core.model import Mode, ScalableTarget
from core.plan import expiry_name
from core.policy import parse_fleet
from core.reconcile import Outcome, Ports, Reconciler
from handlers.wiring import Runtime
from simulator.stack import FALLBACK_ROLE, MAKERS
from tests.chaos.cloud import APPCONFIG, TABLE, CloudAccount
from tests.chaos.wire import Call, Fault, the_wire
from tests.rights import STAGE

SECONDS = {"FleetSync": 300, "Override": 120}
"""Time-outs in template.yaml; 50 s of the others."""


class Killed(BaseException):
    """Lambda ended the execution environment: nothing of the function runs any more, not even a `finally`."""


@dataclass(kw_only=True)
class Patience:
    """The time that passes within one invocation, and how long Lambda lets it run."""

    began: datetime
    seconds: int
    elapsed: timedelta = timedelta(0)

    def now(self) -> datetime:
        return self.began + self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Invocation:
    """Lambda's context object."""

    function_name: str
    aws_request_id: str
    patience: Patience

    def get_remaining_time_in_millis(self) -> int:
        left = timedelta(seconds=self.patience.seconds) - self.patience.elapsed
        return max(0, int(left.total_seconds() * 1000))


class Listener:
    """Hears what a pass did."""

    def __init__(self) -> None:
        self.outcomes: tuple[Outcome, ...] = ()

    def tell(self, function: str, outcomes: tuple[Outcome, ...]) -> None:  # noqa: ARG002 - the port's
        self.outcomes = outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of an invocation: a reply or an error, and the calls it made."""

    reply: Mapping[str, Any] | None
    error: BaseException | None
    calls: tuple[Call, ...]

    def said(self, target: ScalableTarget) -> Mapping[str, Any]:
        """Return what the reply says of a target, nothing if it does not name it."""
        targets: list[Mapping[str, Any]] = (self.reply or {}).get("targets", [])
        return next((said for said in targets if said["target"] == target.resource_id), {})


def policies(table: Table, kind: type[AppConfigPolicies] = AppConfigPolicies) -> AppConfigPolicies:
    """Return the policy source of a fresh execution environment."""
    application, environment, profile = APPCONFIG
    client = the_wire().clients["appconfigdata"]
    provider = AppConfigProvider(environment=environment, application=application, boto3_client=client)
    return kind(application, environment, profile, table, provider)


def runtime(cloud: CloudAccount, patience: Patience) -> Runtime:
    """Return the deployed functions' runtime in a fresh execution environment, over the wire's clients."""
    clients = the_wire().clients
    table = Table(clients["dynamodb"], TABLE)
    ports = Ports(
        policies=policies(table),
        store=table,
        metrics=CloudWatch(clients["cloudwatch"]),
        autoscaling=ApplicationAutoScaling(clients["application-autoscaling"]),
        schedules=Scheduler(lambda: clients["scheduler"], STAGE, FALLBACK_ROLE),
        serving=SageMaker(lambda: clients["sagemaker"], lambda: clients["resourcegroupstaggingapi"]),
        events=EventBus(lambda: clients["events"], STAGE),
        clock=patience.now,
    )
    reconciler = Reconciler(ports, stage=STAGE, mode=Mode.ACTIVE)
    assert cloud.now == patience.began
    return Runtime(reconciler=reconciler, clock=patience.now, tell=Listener().tell, sleep=patience.sleep)


Build = Callable[[CloudAccount, Patience], Runtime]
Arm = Callable[[Patience], Fault]
"""Makes a fault that may let time pass."""


def invoke(
    cloud: CloudAccount, function: str, event: Mapping[str, Any], arm: Arm | None = None, build: Build = runtime
) -> Ran:
    """Invoke a function as Lambda would, in a fresh execution environment."""
    patience = Patience(began=cloud.now, seconds=SECONDS.get(function, 50))
    invocation = Invocation(f"tidegate-{STAGE}-{function}", f"{function}-{cloud.now:%H%M}", patience)
    wire = the_wire()
    reply, error = None, None
    with wire.to(cloud, function, arm(patience) if arm else None):
        try:
            reply = MAKERS[function](lambda: build(cloud, patience))(dict(event), invocation)
        except (Exception, Killed) as err:  # noqa: BLE001 - whatever it is, the harness judges it
            error = err
    return Ran(reply=reply, error=error, calls=tuple(wire.calls))


# ---- what is left behind ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What AWS and the table hold for one target."""

    bounds: tuple[int, int] | None
    desired: int
    policies: Mapping[str, Any]
    actions: Mapping[str, Any]
    alarms: Mapping[str, Any]
    expiry: tuple[int, int] | None
    """The bounds that the expiry would restore."""

    fallback: float | None
    """The target value that the schedule would restore."""

    memory: Mapping[str, Any]
    """What owners go by, without times."""

    original: str | None
    place: Any

    @property
    def targets(self) -> Mapping[str, float]:
        """The target value of each tracking policy."""
        found = {n: p.get(TRACKING) for n, p in self.policies.items()}
        return {name: configuration["TargetValue"] for name, configuration in found.items() if configuration}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a cloud holds: by target, and of the fleet."""

    targets: Mapping[ScalableTarget, Held]
    overrides: frozenset[tuple[str, str | None]]
    """Each with what was told of it."""

    told: frozenset[tuple[str, str]]


REMEMBERED = ("enrolled", "scale_out_alarms", "tracking", "target_factor", "tracked")
TRACKING = "TargetTrackingScalingPolicyConfiguration"


def look(cloud: CloudAccount, targets: tuple[ScalableTarget, ...]) -> State:
    """Read what the cloud holds for these targets, past every adapter."""
    rows = cloud.rows
    overrides = [json.loads(item["body"]["S"]) for item in rows.get("OVERRIDES", {}).values()]
    return State(
        targets={target: _held(cloud, target, rows) for target in targets},
        overrides=frozenset((o["override_id"], o.get("told")) for o in overrides),
        told=frozenset(cloud.told),
    )


def _held(cloud: CloudAccount, target: ScalableTarget, rows: Mapping[str, Mapping[str, Any]]) -> Held:
    account, name = cloud.account, next(iter(target.names.values()))
    own = rows.get(f"TARGET#{target.resource_id}#{target.dimension.value}", {})
    memory = json.loads(unpacked(own["STATE"]["body"])) if "body" in own.get("STATE", {}) else {}
    shown = account.snapshot(name)
    component = account.sagemaker.components.by_name.get(name)
    actions = dict(shown.get("scheduled_actions", {}))
    expiry = actions.pop(expiry_name(STAGE), {}).get("ScalableTargetAction")
    inputs = (json.loads(made["Target"]["Input"]) for made in account.scheduler.schedules.values())
    due = [each for each in inputs if each["ResourceId"] == target.resource_id]
    alarms = {
        n: a.config for n, a in account.cloudwatch.alarms.items() if f"-{name}-" in n and n.startswith("tidegate")
    }
    return Held(
        bounds=shown.get("bounds"),
        desired=(component or account.endpoint(name).first).desired_count,
        policies=shown.get("policies", {}),
        actions=actions,
        alarms=alarms,
        fallback=next((request[TRACKING]["TargetValue"] for request in due), None),
        expiry=expiry and (expiry["MinCapacity"], expiry["MaxCapacity"]),
        memory={field: memory[field] for field in REMEMBERED if field in memory},
        original=own["ORIGINAL"]["body"]["S"] if "ORIGINAL" in own else None,
        place=rows.get("FLEET", {}).get(f"ROSTER#{target.resource_id}#{target.dimension.value}"),
    )


def leases(cloud: CloudAccount) -> set[str]:
    """Return the partitions of those targets whose lease somebody holds."""
    return {pk for pk, rows in cloud.rows.items() if "lease_until" in rows.get("STATE", {})}


def policy_bounds(cloud: CloudAccount) -> Mapping[ScalableTarget, tuple[int, int]]:
    """Return the policy's own bounds of each target that the document names or tags enrol."""
    fleet = parse_fleet(cloud.document)
    found = {t: fleet.profiles[entry.profile] for t, entry in fleet.targets.items()}
    tagged = {
        ScalableTarget.variant(endpoint.name, "AllTraffic"): fleet.profiles[endpoint.tags["tidegate:profile"]]
        for endpoint in cloud.account.sagemaker.endpoints.values()
        if "tidegate:profile" in endpoint.tags
    }
    return {t: (profile.min_capacity, profile.max_capacity) for t, profile in {**found, **tagged}.items()}
