"""A simulated fleet over some hours of real traffic, with Tidegate and without: what the demo shows and measures."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from core.model import ScalableTarget
from core.policy import Fleet
from simulator.account import SimulatedAccount
from simulator.report import Mark, Series, TargetRun, Totals
from simulator.traces import read_trace
from simulator.workload import AsyncWorkload, RealtimeWorkload, Workload

OVERRIDE_ENDPOINT = "chat-prod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One endpoint of the demo fleet: its traffic and what one instance can do.

    Args:
        capacity: requests a minute one instance serves within its objective; for a queue, items it finishes.
        bounds: the policy's own minimum and maximum (`under` takes them from the document); plain AAS gets them too.
    """

    endpoint: str
    kind: str
    trace: str
    seed: int
    instance_type: str
    capacity: float
    first_count: int
    bounds: tuple[int, int] = (0, 0)
    objective: timedelta = timedelta(minutes=15)

    @property
    def queued(self) -> bool:
        """Whether the endpoint is asynchronous."""
        return self.kind == "async"

    def under(self, fleet: Fleet) -> "Scenario":
        """Return the scenario with the bounds that the policy document gives its endpoint."""
        profile = fleet.profiles[next(e.profile for e in fleet.endpoints if e.name == self.endpoint)]
        return replace(self, bounds=(profile.min_capacity, min(profile.max_capacity, fleet.max_capacity)))


FLEET: tuple[Scenario, ...] = (
    Scenario(
        endpoint="chat-prod",
        kind="realtime",
        trace="servegen_small_c31.csv",
        seed=31,
        instance_type="ml.c5.2xlarge",
        capacity=400,
        first_count=3,
    ),
    Scenario(
        endpoint="documents-prod",
        kind="async",
        trace="servegen_large_c48.csv",
        seed=48,
        instance_type="ml.g5.xlarge",
        capacity=29,
        first_count=0,
    ),
    Scenario(
        endpoint="scoring-nightly",
        kind="batch",
        trace="servegen_large_c149.csv",
        seed=149,
        instance_type="ml.m5.xlarge",
        capacity=40,
        first_count=1,
    ),
)


def account_with(scenarios: Sequence[Scenario], traces: Path, start: datetime, hours: float) -> SimulatedAccount:
    """Return an account in which these endpoints serve their traffic from `start` on."""
    account = SimulatedAccount(start)
    for scenario in scenarios:
        account.add_endpoint(
            name=scenario.endpoint,
            workload=_workload(scenario, traces, start, hours),
            instance_type=scenario.instance_type,
            instance_count=scenario.first_count,
            asynchronous=scenario.queued,
        )
    return account


def _workload(scenario: Scenario, traces: Path, start: datetime, hours: float) -> Workload:
    part = read_trace(traces / scenario.trace, seed=scenario.seed).slice(start, hours)
    requests = [int(n) for n in part.requests]
    if scenario.queued:
        work = [float(seconds) for seconds in part.work_seconds]
        return AsyncWorkload(per_minute_requests=requests, per_minute_work_seconds=work, objective=scenario.objective)
    return RealtimeWorkload(per_minute_requests=requests, capacity_per_instance=scenario.capacity, vcpus=8)


def set_plain_policies(account: SimulatedAccount, scenario: Scenario) -> None:
    """Register what AWS's guides start with (facts 5.1 and 7).

    Real-time: the load-testing page's half of what an instance can do. Asynchronous: 5 per instance, and a step out of
    zero.
    """
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": ScalableTarget.variant(scenario.endpoint, "AllTraffic").resource_id,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }

    def aas(operation: str, **params: object) -> dict[str, Any]:
        return account.call("application-autoscaling", operation, {**target, **params})

    low, high = scenario.bounds
    aas("RegisterScalableTarget", MinCapacity=low, MaxCapacity=high)
    tracking: dict[str, Any] = {"ScaleOutCooldown": 300, "ScaleInCooldown": 300}
    if not scenario.queued:
        metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        tracking |= {"TargetValue": 0.5 * scenario.capacity, "PredefinedMetricSpecification": metric}
    else:
        queue = {
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": scenario.endpoint}],
            "Statistic": "Average",
        }
        metric_name = "ApproximateBacklogSizePerInstance"
        tracking |= {"TargetValue": 5.0, "CustomizedMetricSpecification": {**queue, "MetricName": metric_name}}
        step = aas(
            "PutScalingPolicy",
            PolicyName="HasBacklogWithoutCapacity-ScalingPolicy",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "ChangeInCapacity",
                "MetricAggregationType": "Average",
                "Cooldown": 300,
                "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
            },
        )
        alarm = {
            "AlarmName": f"{scenario.endpoint}-has-backlog-without-capacity",
            "MetricName": "HasBacklogWithoutCapacity",
            "Period": 60,
            "EvaluationPeriods": 2,
            "DatapointsToAlarm": 2,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "AlarmActions": [step["PolicyARN"]],
        }
        account.call("cloudwatch", "PutMetricAlarm", {**queue, **alarm})
    aas(
        "PutScalingPolicy",
        PolicyName="plain-target-tracking",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=tracking,
    )


@dataclass(slots=True)
class Watch:
    """Collects what the report shows, a minute at a time."""

    account: SimulatedAccount
    scenarios: Sequence[Scenario]
    bounds: dict[str, list[tuple[int, int] | None]] = field(default_factory=dict)
    minutes: list[datetime] = field(default_factory=list)

    def look(self, minute: datetime) -> None:
        """Note the registered bounds at the end of `minute`."""
        self.minutes.append(minute)
        for scenario in self.scenarios:
            self.bounds.setdefault(scenario.endpoint, []).append(self.account.snapshot(scenario.endpoint).get("bounds"))

    def series(self, scenario: Scenario) -> Series:
        """Return one endpoint's run; a queue's demand is what waits in it."""
        history = self.account.endpoint(scenario.endpoint).workload.history
        bounds = self.bounds[scenario.endpoint]
        return Series(
            minutes=self.minutes,
            demand=[float(n) for n in (history.backlog if scenario.queued else history.demand)],
            ready=history.ready,
            desired=history.desired,
            floor=[pair[0] if pair else None for pair in bounds],
            ceiling=[pair[1] if pair else None for pair in bounds],
            harmed=[float(n) for n in (history.late if scenario.queued else history.violated)],
        )

    def totals(self, scenario: Scenario) -> Totals:
        """Return one endpoint's run in four numbers. Requests still waiting past the objective count as late."""
        endpoint = self.account.endpoint(scenario.endpoint)
        workload, history = endpoint.workload, endpoint.workload.history
        harmed = workload.late if isinstance(workload, AsyncWorkload) else sum(history.violated)
        return Totals(
            requests=sum(history.demand),
            harmed=harmed,
            instance_hours=endpoint.instance_minutes / 60,
            changes=sum(a != b for a, b in zip(history.desired, history.desired[1:], strict=False)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens in the run besides traffic: an override in the middle, and perhaps the controller's death."""

    traces: Path
    """Folder of the traces."""

    start: datetime
    hours: float
    override_at: datetime
    kill_at: datetime | None = None

    @property
    def override(self) -> dict[str, Any]:
        """The operator's request, as `events/override-floor.json` has it."""
        return {
            "request_id": "campaign-mail",
            "action": "floor",
            "target": OVERRIDE_ENDPOINT,
            "capacity": 5,
            "expires_at": f"{self.override_at + timedelta(minutes=90):%Y-%m-%dT%H:%M:%SZ}",
            "reason": "campaign mail goes out in ten minutes",
            "requested_by": "maria@example.com",
        }


class Stack(Protocol):
    """A deployed stack: `SimulatedStack`, or the embedded account's."""

    account: SimulatedAccount
    alive: bool

    @property
    def invocations(self) -> Counter[str]:
        """How often each function was invoked."""
        ...

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Function and error of each failed invocation."""
        ...

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke a function and return its reply."""
        ...

    def minute(self) -> list[dict[str, Any]]:
        """Let one simulated minute pass."""
        ...

    def stop(self) -> None:
        """Kill the controller; AWS goes on."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What one pass said of one target (`handlers.wiring.summary`)."""

    at: datetime
    function: str
    said: Mapping[str, Any]

    @property
    def endpoint(self) -> str:
        """The target's endpoint."""
        return str(self.said["target"]).split("/")[1]

    @property
    def figures(self) -> str:
        """What the deciding rule looked at."""
        seen = self.said.get("seen", {})
        return ", ".join(
            f"{key.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
            for key, value in seen.items()
        )


@dataclass(slots=True)
class Result:
    """A run, and what it came to."""

    stack: Stack
    tidegate: Watch
    plain: Watch
    told: list[Told] = field(default_factory=list)
    override_reply: dict[str, Any] | None = None

    def hear(self, at: datetime, function: str, reply: Mapping[str, Any]) -> None:
        """Note what a finished invocation said of each target."""
        self.told += [Told(at, function, said) for said in reply.get("targets", ())]

    def target_run(self, scenario: Scenario) -> TargetRun:
        """Return what the report shows of one endpoint."""
        minutes = scenario.objective.total_seconds() / 60
        return TargetRun(
            name=scenario.endpoint,
            kind=scenario.kind,
            unit="items queued" if scenario.queued else "requests/min",
            capacity_per_instance=scenario.capacity * (minutes if scenario.queued else 1),
            tidegate=self.tidegate.series(scenario),
            plain=self.plain.series(scenario),
            totals=self.tidegate.totals(scenario),
            plain_totals=self.plain.totals(scenario),
            marks=[_mark(told) for told in self.changes(scenario.endpoint)],
            notes=[],
        )

    def changes(self, endpoint: str) -> list[Told]:
        """Return what was changed on one endpoint, in order."""
        return [told for told in self.told if told.said["status"] == "changed" and told.endpoint == endpoint]


def run(
    scenarios: Sequence[Scenario],
    stack: Stack,
    plan: Plan,
    listen: Callable[[Callable[[datetime, str, dict[str, Any]], None]], None],
    progress: Callable[[datetime, Result], None] = lambda _now, _result: None,
) -> Result:
    """Replay the traffic once under a deployed stack and once under plain AAS policies.

    Args:
        scenarios: endpoints; the stack's account has them already (`account_with`).
        stack: Tidegate, with the policy document delivered.
        plan: what happens besides traffic.
        listen: given a function, lets it hear of each finished invocation: when, which function, its reply.
        progress: told after each simulated minute.
    """
    plain = account_with(scenarios, plan.traces, plan.start, plan.hours)
    for scenario in scenarios:
        set_plain_policies(plain, scenario)
    result = Result(stack, Watch(stack.account, scenarios), Watch(plain, scenarios))
    listen(result.hear)
    stack.invoke("FleetSync", {"trigger": "policy"})
    for _ in range(round(plan.hours * 60)):
        minute = stack.account.now
        if minute == plan.kill_at:
            stack.stop()
        if minute == plan.override_at and stack.alive and any(s.endpoint == OVERRIDE_ENDPOINT for s in scenarios):
            result.override_reply = stack.invoke("Override", plan.override)
        stack.minute()
        plain.advance()
        result.tidegate.look(minute)
        result.plain.look(minute)
        progress(stack.account.now, result)
    return result


def _mark(told: Told) -> Mark:
    """Return a decision as the report shows it."""
    text = "; ".join(told.said.get("actions", ())) + (f" ({told.figures})" if told.figures else "")
    return Mark(at=told.at, reason=str(told.said["reason"]), text=text)
