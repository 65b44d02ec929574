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
from simulator.components import Component, Managed
from simulator.report import Mark, Series, TargetRun, Totals
from simulator.sagemaker import Variant
from simulator.traces import read_trace
from simulator.workload import AsyncWorkload, ComponentWorkload, NoWorkload, RealtimeWorkload, Workload

OVERRIDE_ENDPOINT = "chat-prod"
LLM_INSTANCE = timedelta(minutes=2)
"""From an order to an instance of the component's endpoint (facts 7); a copy takes two more."""

MOST_LLM_INSTANCES = 6


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
    component: bool = False
    """Whether an inference component of the endpoint's name serves, and capacity is counted in its copies."""

    bounds: tuple[int, int] = (0, 0)
    objective: timedelta = timedelta(minutes=15)

    @property
    def queued(self) -> bool:
        """Whether the endpoint is asynchronous."""
        return self.kind == "async"

    @property
    def target(self) -> ScalableTarget:
        """What is scaled."""
        variant = ScalableTarget.variant(self.endpoint, "AllTraffic")
        return ScalableTarget.component(self.endpoint) if self.component else variant

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
    Scenario(
        endpoint="assistant-llm",
        kind="realtime",
        trace="servegen_large_c133.csv",
        seed=133,
        instance_type="ml.g5.2xlarge",
        capacity=160,
        first_count=0,
        component=True,
    ),
)


def account_with(scenarios: Sequence[Scenario], traces: Path, start: datetime, hours: float) -> SimulatedAccount:
    """Return an account in which these endpoints serve their traffic from `start` on."""
    account = SimulatedAccount(start)
    for scenario in scenarios:
        workload = _workload(scenario, traces, start, hours)
        account.add_endpoint(
            name=scenario.endpoint,
            workload=NoWorkload() if scenario.component else workload,
            instance_type=scenario.instance_type,
            instance_count=scenario.first_count,
            asynchronous=scenario.queued,
            provisioning_delay=LLM_INSTANCE if scenario.component else timedelta(minutes=6),
            managed=Managed(minimum=0, maximum=MOST_LLM_INSTANCES) if scenario.component else None,
        )
        if scenario.component:
            name, copies = scenario.endpoint, scenario.first_count
            account.add_component(name=name, endpoint=name, workload=workload, copies=copies)
    return account


def serving(account: SimulatedAccount, scenario: Scenario) -> Component | Variant:
    """Return what serves the scenario's requests: the endpoint's variant, or its component."""
    if scenario.component:
        return account.sagemaker.components.by_name[scenario.endpoint]
    return account.endpoint(scenario.endpoint).first


def _workload(scenario: Scenario, traces: Path, start: datetime, hours: float) -> Workload:
    part = read_trace(traces / scenario.trace, seed=scenario.seed).slice(start, hours)
    requests = [int(n) for n in part.requests]
    if scenario.queued:
        work = [float(seconds) for seconds in part.work_seconds]
        return AsyncWorkload(per_minute_requests=requests, per_minute_work_seconds=work, objective=scenario.objective)
    if scenario.component:
        return ComponentWorkload(per_minute_requests=requests, capacity_per_instance=scenario.capacity, gpus=1)
    return RealtimeWorkload(per_minute_requests=requests, capacity_per_instance=scenario.capacity, vcpus=8)


def set_plain_policies(account: SimulatedAccount, scenario: Scenario) -> None:
    """Register what AWS's guides start with (facts 5.1, 5.2 and 7).

    Real-time: the load-testing page's half of what an instance can do. Asynchronous: 5 per instance, and a step out of
    zero. Inference component: half of what a copy can do, and a step out of zero.
    """
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": scenario.target.resource_id,
        "ScalableDimension": scenario.target.dimension.value,
    }

    def aas(operation: str, **params: object) -> dict[str, Any]:
        return account.call("application-autoscaling", operation, {**target, **params})

    def wake(metric: str, dimension: str, statistic: str, minutes: int, cooldown: int) -> None:
        steps = [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]
        step = aas(
            "PutScalingPolicy",
            PolicyName=f"{metric}-ScalingPolicy",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "ChangeInCapacity",
                "MetricAggregationType": "Maximum",
                "Cooldown": cooldown,
                "StepAdjustments": steps,
            },
        )
        alarm = {
            "AlarmName": f"{scenario.endpoint}-{metric}",
            "Namespace": "AWS/SageMaker",
            "MetricName": metric,
            "Dimensions": [{"Name": dimension, "Value": scenario.endpoint}],
            "Statistic": statistic,
            "Period": 60,
            "EvaluationPeriods": minutes,
            "DatapointsToAlarm": minutes,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "AlarmActions": [step["PolicyARN"]],
        }
        account.call("cloudwatch", "PutMetricAlarm", alarm)

    low, high = scenario.bounds
    aas("RegisterScalableTarget", MinCapacity=low, MaxCapacity=high)
    tracking: dict[str, Any] = {"ScaleOutCooldown": 300, "ScaleInCooldown": 300}
    if scenario.queued:
        queue = {
            "Namespace": "AWS/SageMaker",
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Dimensions": [{"Name": "EndpointName", "Value": scenario.endpoint}],
            "Statistic": "Average",
        }
        tracking |= {"TargetValue": 5.0, "ScaleInCooldown": 600, "CustomizedMetricSpecification": queue}
        wake("HasBacklogWithoutCapacity", "EndpointName", "Average", minutes=2, cooldown=300)
    else:
        each = "InferenceComponentInvocationsPerCopy" if scenario.component else "VariantInvocationsPerInstance"
        metric = {"PredefinedMetricType": f"SageMaker{each}"}
        tracking |= {"TargetValue": 0.5 * scenario.capacity, "PredefinedMetricSpecification": metric}
    if scenario.component:
        wake("NoCapacityInvocationFailures", "InferenceComponentName", "Sum", minutes=1, cooldown=60)
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
        history = serving(self.account, scenario).workload.history
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
        endpoint, workload = self.account.endpoint(scenario.endpoint), serving(self.account, scenario).workload
        history = workload.history
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
            "duration": "90m",
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
