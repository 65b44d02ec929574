"""The ports on AWS as dictionaries: a test sets what is read, the fake notes what is written.

`writes` lists `(operation, *arguments)` in order. `fail_on` makes an operation raise, before it does anything:
`fail_on={"register": ThrottledError("slow down")}`; a list raises its errors one call after the other, then no more.
Fakes are stricter than moto: no policy without a registered target, no bounds or counts AAS would refuse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from core.errors import ObservationError, TargetBusyError, TargetNotFoundError
from core.fleet import PROFILE_TAG
from core.model import Capacity, Envelope, Missing, Observation, Point, Refusal, ScalableTarget, Serving, Starts
from core.ports import MetricQuery, NativePolicy, Registration, ScheduledAction, Variant

Write = tuple[Any, ...]


@dataclass(kw_only=True)
class _Fake:
    fail_on: dict[str, Exception | list[Exception]] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    def _read(self, operation: str) -> None:
        self.reads.append(operation)
        self._maybe_fail(operation)

    def _write(self, operation: str, *arguments: object) -> None:
        self._maybe_fail(operation)
        self.writes.append((operation, *arguments))

    def _maybe_fail(self, operation: str) -> None:
        match self.fail_on.get(operation):
            case Exception() as error:
                raise error
            case [first, *rest]:
                self.fail_on[operation] = rest
                raise first
            case _:
                pass


@dataclass(kw_only=True)
class FakeMetrics(_Fake):
    """`series` by metric name (all dimensions), or `observed` by the exact query, which wins."""

    observed: dict[MetricQuery, Observation | Missing] = field(default_factory=dict)
    series: dict[str, Observation | Missing] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    alarm_shapes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        """Return what was set, within the last `span`."""
        self._read("fetch")
        silent = Observation((Point(_first_minute(now, span), 0.0),))
        return {
            query: _since(
                self.observed.get(
                    query, self.series.get(query.name, silent if query.sparse else Missing("no data points"))
                ),
                _first_minute(now, span),
            )
            for query in queries
        }

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        self._read("alarm_states")
        return {name: self.states[name] for name in names if name in self.states}

    def alarms(self, prefix: str) -> Mapping[str, Mapping[str, Any]]:
        self._read("alarms")
        return {name: alarm for name, alarm in self.alarm_shapes.items() if name.startswith(prefix)}

    def put_alarm(self, alarm: Mapping[str, Any]) -> None:
        self._write("put_alarm", alarm)
        self.alarm_shapes[alarm["AlarmName"]] = dict(alarm)
        self.states.setdefault(alarm["AlarmName"], "INSUFFICIENT_DATA")

    def delete_alarms(self, names: Sequence[str]) -> None:
        self._write("delete_alarms", tuple(names))
        for name in names:
            self.alarm_shapes.pop(name, None)
            self.states.pop(name, None)


@dataclass(kw_only=True)
class FakeSchedules(_Fake):
    """`due` is what Scheduler holds: when which policy is put."""

    due: dict[ScalableTarget, tuple[datetime, NativePolicy]] = field(default_factory=dict)

    def put(self, target: ScalableTarget, policy: NativePolicy, at: datetime) -> None:
        self._write("put_schedule", target, policy, at)
        self.due[target] = (at, policy)

    def delete(self, target: ScalableTarget) -> None:
        self._write("delete_schedule", target)
        self.due.pop(target, None)

    def left_behind(self, target: ScalableTarget) -> float | None:
        self._read("get_schedule")
        return self.due[target][1].target if target in self.due else None


@dataclass(kw_only=True)
class FakeAutoscaling(_Fake):
    """`bounds`, `native` and `actions` are what AAS holds; writes change them as AAS would."""

    bounds: dict[ScalableTarget, Envelope] = field(default_factory=dict)
    suspended: dict[ScalableTarget, tuple[str, ...]] = field(default_factory=dict)
    native: dict[ScalableTarget, dict[str, NativePolicy]] = field(default_factory=dict)
    actions: dict[ScalableTarget, dict[str, ScheduledAction]] = field(default_factory=dict)
    refusals: dict[ScalableTarget, Refusal] = field(default_factory=dict)
    metrics: FakeMetrics | None = None
    """Where it keeps the alarms that it makes for target tracking."""

    took: dict[ScalableTarget, Starts] = field(default_factory=dict)
    took_until: datetime | None = None
    """When the newest of them was ordered."""

    def registered(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Registration]:
        self._read("registered")
        return {
            target: Registration(self.bounds[target], self.suspended.get(target, ()))
            for target in targets
            if target in self.bounds
        }

    def count(self) -> int:
        self._read("count")
        return len(self.bounds)

    def refusal(self, target: ScalableTarget) -> Refusal | None:
        self._read("refusal")
        return self.refusals.get(target)

    def starts(self, target: ScalableTarget, since: datetime | None) -> Starts:
        self._read("starts")
        over = since is not None and self.took_until is not None and self.took_until < since
        return Starts() if over else self.took.get(target, Starts())

    def register(self, target: ScalableTarget, envelope: Envelope) -> None:
        self._write("register", target, envelope)
        self.bounds[target] = envelope

    def deregister(self, target: ScalableTarget) -> None:
        self._write("deregister", target)
        for held in (self.bounds, self.native, self.actions):
            held.pop(target, None)

    def policies(self, target: ScalableTarget) -> tuple[NativePolicy, ...]:
        self._read("policies")
        return tuple(self.native.get(target, {}).values())

    def put_policy(self, target: ScalableTarget, policy: NativePolicy) -> str:
        """Store the policy without its alarm; tracking policies get alarm names as AAS makes them."""
        self._must_be_registered("put_policy", target)
        self._write("put_policy", target, policy)
        made = tuple(f"TargetTracking-{target.resource_id}-Alarm{side}-{policy.name}" for side in ("High", "Low"))
        names = made if policy.policy_type == "TargetTrackingScaling" else ()
        if self.metrics is not None:
            self.metrics.states |= {name: self.metrics.states.get(name, "OK") for name in names}
        if policy.alarm is not None:  # AAS lists the alarms that name the policy in their actions
            names = (policy.alarm["AlarmName"],)
        self.native.setdefault(target, {})[policy.name] = replace(policy, alarm=None, alarm_names=names)
        return (
            "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:00000000-0000-0000-0000-000000000000:"
            f"resource/sagemaker/{target.resource_id}:policyName/{policy.name}"
        )

    def delete_policy(self, target: ScalableTarget, name: str) -> None:
        self._write("delete_policy", target, name)
        gone = self.native.get(target, {}).pop(name, None)
        for alarm in gone.alarm_names if gone and gone.policy_type == "TargetTrackingScaling" else ():
            if self.metrics is not None:
                self.metrics.states.pop(alarm, None)

    def scheduled_actions(self, target: ScalableTarget) -> tuple[ScheduledAction, ...]:
        self._read("scheduled_actions")
        return tuple(self.actions.get(target, {}).values())

    def put_scheduled_action(self, target: ScalableTarget, action: ScheduledAction) -> None:
        self._must_be_registered("put_scheduled_action", target)
        if not {"MinCapacity", "MaxCapacity"} & set(action.settings["ScalableTargetAction"]):
            raise ValueError(f"{action.name}: at least one of MinCapacity and MaxCapacity must be given")
        self._write("put_scheduled_action", target, action)
        self.actions.setdefault(target, {})[action.name] = action

    def delete_scheduled_action(self, target: ScalableTarget, name: str) -> None:
        self._write("delete_scheduled_action", target, name)
        self.actions.get(target, {}).pop(name, None)

    def _must_be_registered(self, operation: str, target: ScalableTarget) -> None:
        if target not in self.bounds:
            raise TargetNotFoundError(f"{operation} {target.resource_id}: no scalable target registered")


@dataclass(kw_only=True)
class FakeServing(_Fake):
    """`capacities` by target, `endpoints` by name, `tags` profile name by endpoint name, `labels` other tags."""

    capacities: dict[ScalableTarget, Capacity] = field(default_factory=dict)
    endpoints: dict[str, tuple[Variant, ...]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(  # noqa: PLR0913 - an endpoint in one line of a test, all but the name by keyword
        self,
        endpoint: str,
        *,
        count: int = 1,
        status: str = "InService",
        variant: str = "AllTraffic",
        instance_type: str | None = "ml.m5.xlarge",
        serving: Serving = Serving.REALTIME,
        managed_minimum: int | None = None,
        profile: str | None = None,
        created_at: datetime | None = None,
    ) -> ScalableTarget:
        """Add an endpoint with one variant, tagged if `profile` is given, and return the variant's target."""
        target = ScalableTarget.variant(endpoint, variant, serving.dimension)
        self.capacities[target] = Capacity(count, count, status, created_at, f"{endpoint}-config-1")
        seen = Variant(target=target, instance_type=instance_type, serving=serving, managed_minimum=managed_minimum)
        self.endpoints[endpoint] = (*self.endpoints.get(endpoint, ()), seen)
        if profile is not None:
            self.tags[endpoint] = profile
        return target

    def add_component(self, name: str, endpoint: str, *, copies: int = 1, status: str = "InService") -> ScalableTarget:
        """Add an inference component to the first variant of an endpoint and return its target."""
        target = ScalableTarget.component(name)
        self.capacities[target] = Capacity(copies, copies, status)
        seen = replace(self.endpoints[endpoint][0], target=target, serving=Serving.INFERENCE_COMPONENT)
        self.endpoints[endpoint] = (*self.endpoints[endpoint], seen)
        return target

    def capacity(self, target: ScalableTarget) -> Capacity | Missing:
        self._read("capacity")
        return self.capacities.get(target, Missing(f"{target.resource_id} does not exist"))

    def running(
        self,
        targets: Sequence[ScalableTarget],
        now: datetime,  # noqa: ARG002 - the port's
    ) -> Mapping[ScalableTarget, Capacity | Missing | ObservationError]:
        found: dict[ScalableTarget, Capacity | Missing | ObservationError] = {}
        for target in targets:
            try:
                found[target] = self.capacity(target)
            except ObservationError as err:
                found[target] = err
        return found

    def variants(self, endpoint: str) -> tuple[Variant, ...]:
        """Names are found in any case, as SageMaker finds them."""
        self._read("variants")
        return next((hosted for name, hosted in self.endpoints.items() if name.lower() == endpoint.lower()), ())

    def tagged(self) -> Mapping[str, Mapping[str, str]]:
        self._read("tagged")
        profiles = {name.lower(): {PROFILE_TAG: profile} for name, profile in self.tags.items()}
        return {name: {**self.labels.get(name, {}), **profiles.get(name, {})} for name in {**self.labels, **profiles}}

    def set_count(self, target: ScalableTarget, count: int) -> None:
        """Ask for a count; as on AWS the change is under way, not done, when the call returns."""
        if target not in self.capacities:
            raise TargetNotFoundError(f"set_count {target.resource_id}: could not find endpoint")
        if not self.capacities[target].in_service:
            raise TargetBusyError(f"set_count {target.resource_id}: cannot update in-progress endpoint")
        self._write("set_count", target, count)
        self.capacities[target] = replace(self.capacities[target], desired=count, status="Updating")


def observed(now: datetime, *values: float) -> Observation:
    """Return one value a minute, the last for the newest complete minute at `now`."""
    newest = (now - timedelta(minutes=2)).replace(second=0, microsecond=0)
    return Observation(
        tuple(Point(newest - timedelta(minutes=len(values) - 1 - i), value) for i, value in enumerate(values))
    )


def _first_minute(now: datetime, span: timedelta) -> datetime:
    """Return the start of the oldest of the complete minutes that `span` holds, as the adapter counts them."""
    return (now - timedelta(minutes=1) - span).replace(second=0, microsecond=0)


def _since(seen: Observation | Missing, start: datetime) -> Observation | Missing:
    if isinstance(seen, Missing):
        return seen
    points = tuple(point for point in seen.points if point.at >= start)
    return Observation(points) if points else Missing("no data points")
