"""Application Auto Scaling for SageMaker: the API, and what the service does by itself each minute.

Numbers in parentheses are sections of the domain fact sheet (docs). Where AWS is silent the more awkward behaviour is
modelled: a scheduled action that meets an endpoint under change fails and is not retried.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator import schedule
from simulator.components import Component
from simulator.sagemaker import IN_SERVICE
from simulator.scaling import LOW_ALARM_FACTOR, step_capacity, step_problems, tracking_capacity
from simulator.service import Page, Service, ServiceError, stable_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from simulator.alarms import Alarm
    from simulator.cloudwatch import CloudWatch
    from simulator.events import World
    from simulator.sagemaker import SageMaker, Variant

DEFAULT_COOLDOWN_SECONDS = 300  # both ways (2.3)
MAX_TARGETS, MAX_POLICIES, MAX_STEPS, MAX_SCHEDULED_ACTIONS = 500, 50, 20, 200  # (1.9)
ACTIVITY_MEMORY = timedelta(weeks=6)  # (1.7)
SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
HIGH, LOW = 0, 1  # index of a target-tracking alarm in Policy.alarm_names
PREDEFINED = {  # metric behind it, statistic; the high-resolution one is read by the minute here (1.2)
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum"),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", "Maximum"),
    "SageMakerVariantProvisionedConcurrencyUtilization": ("ServerlessProvisionedConcurrencyUtilization", "Average"),
    "SageMakerInferenceComponentInvocationsPerCopy": ("InvocationsPerCopy", "Sum"),
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": ("ConcurrentRequestsPerCopy", "Maximum"),
}
FITTING = {  # what the names of these begin with, by dimension
    "sagemaker:variant:DesiredInstanceCount": ("SageMakerVariantInv", "SageMakerVariantConc"),
    "sagemaker:variant:DesiredProvisionedConcurrency": ("SageMakerVariantProv",),
    "sagemaker:inference-component:DesiredCopyCount": ("SageMakerInferenceComponent",),
}


@dataclass(slots=True)
class Policy:
    """One scaling policy; `request` is what PutScalingPolicy was given."""

    arn: str
    request: dict[str, Any]
    created: datetime
    alarm_names: tuple[str, ...] = ()  # high and low, of target tracking

    @property
    def name(self) -> str:
        """Unique within the target."""
        return str(self.request["PolicyName"])

    @property
    def tracking(self) -> dict[str, Any] | None:
        """Its target-tracking configuration, None for a step policy."""
        return self.request.get("TargetTrackingScalingPolicyConfiguration")

    @property
    def steps(self) -> dict[str, Any]:
        """Its step configuration, empty for target tracking."""
        return dict(self.request.get("StepScalingPolicyConfiguration", {}))

    def cooldown(self, *, out: bool) -> timedelta:
        """After a scale-out or a scale-in of its own."""
        key = "ScaleOutCooldown" if out else "ScaleInCooldown"
        seconds = (self.tracking or {}).get(key) if self.tracking else self.steps.get("Cooldown")
        return timedelta(seconds=DEFAULT_COOLDOWN_SECONDS if seconds is None else seconds)


@dataclass(slots=True)
class ScheduledAction:
    """One scheduled action; an update replaces it as a whole (1.6)."""

    arn: str
    request: dict[str, Any]
    created: datetime
    schedule: schedule.Schedule

    def due(self, minute: datetime) -> bool:
        """Whether it runs in this minute: by its schedule between StartTime and EndTime, and at StartTime itself."""
        start, end = self.request.get("StartTime"), self.request.get("EndTime")
        if end is not None and minute > end:
            return False
        if start is not None and minute <= start < minute + schedule.MINUTE:
            return True
        return (start is None or minute >= start) and self.schedule.due(minute)


@dataclass(slots=True, kw_only=True)
class Change:
    """A capacity change under way, and what it will mean once it is done."""

    before: int
    after: int
    cooldown: timedelta | None  # None for moves of the bounds, which know no cooldown
    activity: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Target:
    """One scalable target."""

    arn: str
    resource: Variant | Component
    minimum: int
    maximum: int
    created: datetime
    suspended: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(SUSPENDABLE, False))
    policies: dict[str, Policy] = field(default_factory=dict)
    actions: dict[str, ScheduledAction] = field(default_factory=dict)
    change: Change | None = None
    out_until: datetime | None = None
    out_base: int = 0  # capacity before the scale-out whose cooldown runs
    in_until: datetime | None = None
    last_not_scaled: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, str]:
        """The three parameters that name it in every call."""
        names = {"ResourceId": self.resource.resource_id, "ScalableDimension": self.resource.dimension}
        return {"ServiceNamespace": "sagemaker", **names}


class Wish(NamedTuple):
    """What one policy in ALARM asks for."""

    capacity: int
    policy: Policy
    alarm: Alarm

    @property
    def cause(self) -> str:
        """The words of the scaling activity (1.7)."""
        return f"monitor alarm {self.alarm.name} in state ALARM triggered policy {self.policy.name}"


class ApplicationAutoScaling(Service):
    """The targets, policies, scheduled actions and activities of one account."""

    name = "application-autoscaling"
    paging_error = "InvalidNextTokenException"

    def __init__(self, world: World, sagemaker: SageMaker, cloudwatch: CloudWatch) -> None:
        self.world = world
        self.sagemaker = sagemaker
        self.cloudwatch = cloudwatch
        self.targets: dict[str, Target] = {}  # by resource ID
        self.activities: list[dict[str, Any]] = []  # oldest first
        sagemaker.scaling = self

    # ---- scalable targets (1.3) -------------------------------------------------------------------------------------

    def register_scalable_target(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Upsert; every call moves the capacity inside the bounds if the endpoint is InService (2.6, 2.7)."""
        resource = self._resource(params)
        target = self.targets.get(resource.resource_id)
        minimum = params.get("MinCapacity", target.minimum if target else None)
        maximum = params.get("MaxCapacity", target.maximum if target else None)
        if minimum is None or maximum is None:
            raise self.invalid("MinCapacity and MaxCapacity are required when registering a new scalable target")
        self._check_bounds(resource, minimum, maximum)
        if target is None:
            if len(self.targets) >= MAX_TARGETS:
                raise ServiceError("LimitExceededException", f"Cannot have more than {MAX_TARGETS} scalable targets")
            opaque = stable_uuid("scalable-target", resource.resource_id).replace("-", "")[:26]
            arn = self.world.arn("application-autoscaling", f"scalable-target/{opaque}")
            target = Target(arn=arn, resource=resource, minimum=minimum, maximum=maximum, created=self.world.now)
            self.targets[resource.resource_id] = target
        target.suspended = {**target.suspended, **params.get("SuspendedState", {})}
        self._set_bounds(target, minimum, maximum)
        return {"ScalableTargetARN": target.arn}

    def _resource(self, params: Mapping[str, Any]) -> Variant | Component:
        """The variant or inference component behind a resource ID."""
        resource_id, dimension = params["ResourceId"], params["ScalableDimension"]
        found: Variant | Component | None = None
        match resource_id.split("/"), dimension.split(":")[1]:
            case ["endpoint", name, "variant", variant], "variant":
                endpoint = self.sagemaker.endpoints.get(name)
                found = endpoint.variants.get(variant) if endpoint else None
            case ["inference-component", name], "inference-component":
                found = self.sagemaker.components.by_name.get(name)
            case _:
                raise self._unsupported(params)
        if params["ServiceNamespace"] != "sagemaker" or dimension not in FITTING:
            raise self._unsupported(params)
        if found is None or found.dimension != dimension:
            raise self.invalid(f"SageMaker {dimension.split(':')[1]} doesn't exist: {resource_id}")
        return found

    def _unsupported(self, params: Mapping[str, Any]) -> ServiceError:
        return self.invalid(
            f"Unsupported service namespace, resource type or scalable dimension: {params['ServiceNamespace']}, "
            f"{params['ResourceId']}, {params['ScalableDimension']}"
        )

    def _check_bounds(self, resource: Variant | Component, minimum: int, maximum: int) -> None:
        if minimum > maximum:
            raise self.invalid("Maximum capacity cannot be less than minimum capacity")
        if minimum < resource.lowest_count:
            lowest = f"{resource.lowest_count} for {resource.resource_id}"
            raise self.invalid(f"Minimum capacity cannot be less than {lowest}")

    def _set_bounds(self, target: Target, minimum: int, maximum: int) -> None:
        target.minimum, target.maximum = minimum, maximum
        if target.resource.status != IN_SERVICE:
            return
        if target.resource.desired_count < minimum:
            self._order(target, minimum, f"minimum capacity was set to {minimum}", None)
        elif target.resource.desired_count > maximum:
            self._order(target, maximum, f"maximum capacity was set to {maximum}", None)

    def deregister_scalable_target(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Policies, their alarms and scheduled actions go with it; the endpoint keeps its capacity."""
        self.forget(self._registered(params).resource.resource_id)
        return {}

    def is_registered(self, resource_id: str) -> bool:
        """Whether a variant is a scalable target."""
        return resource_id in self.targets

    def forget(self, resource_id: str) -> None:
        """Deregister a variant, if it is a target: its policies' alarms and scheduled actions go with it."""
        target = self.targets.pop(resource_id, None)
        for policy in target.policies.values() if target else ():
            self._delete_alarms(policy)

    def _registered(self, params: Mapping[str, Any]) -> Target:
        target = self.targets.get(params["ResourceId"])
        wanted = {key: params[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        if target is None or target.identity != wanted:
            raise _not_found("scalable target registered", params)
        return target

    def describe_scalable_targets(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Fifty to a page; not the current capacity, which only SageMaker tells (1.7)."""
        ids = params.get("ResourceIds")
        found = [
            {
                **target.identity,
                "MinCapacity": target.minimum,
                "MaxCapacity": target.maximum,
                "RoleARN": self.world.arn("iam", "role/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"),
                "CreationTime": target.created,
                "SuspendedState": dict(target.suspended),
                "ScalableTargetARN": target.arn,
            }
            for resource_id, target in sorted(self.targets.items())
            if not ids or resource_id in ids
        ]
        return self._described("ScalableTargets", found, params, Page(50, 50))

    def _described(
        self, key: str, found: Iterable[dict[str, Any]], params: Mapping[str, Any], page: Page
    ) -> dict[str, Any]:
        if "ScalableDimension" in params and not (params.get("ResourceId") or params.get("ResourceIds")):
            raise self.invalid("If you specify a scalable dimension, you must also specify a resource ID")
        keys = [key for key in ("ServiceNamespace", "ScalableDimension") if key in params]
        wanted = (item for item in found if all(item[key] == params[key] for key in keys))
        items, token = self.page(wanted, params, page)
        return {key: items, **({"NextToken": token} if token else {})}

    # ---- scaling policies (1.5) -------------------------------------------------------------------------------------

    def put_scaling_policy(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Upsert by name; target tracking writes its two alarms."""
        target = self._registered(params)
        old = target.policies.get(params["PolicyName"])
        kind = params.get("PolicyType") or (old.request["PolicyType"] if old else "StepScaling")
        request = {**params, "PolicyType": kind}
        self._check_policy(target, request)
        if old is None and len(target.policies) >= MAX_POLICIES:
            raise ServiceError("LimitExceededException", f"Cannot have more than {MAX_POLICIES} scaling policies")
        policy = old or Policy(self._policy_arn(target, params["PolicyName"]), request, self.world.now)
        policy.request = request
        target.policies[policy.name] = policy
        if policy.tracking is None:
            self._delete_alarms(policy)
        if tracking := policy.tracking:
            policy.alarm_names = self._put_tracking_alarms(target, policy, tracking)
        return {"PolicyARN": policy.arn, "Alarms": self._alarm_references(policy)}

    def _policy_arn(self, target: Target, name: str) -> str:
        resource = f"resource/sagemaker/{target.resource.resource_id}:policyName/{name}"
        unique = stable_uuid("policy", target.resource.resource_id, name)
        return self.world.arn("autoscaling", f"scalingPolicy:{unique}:{resource}")

    def _check_policy(self, target: Target, request: Mapping[str, Any]) -> None:
        kind = request["PolicyType"]
        configurations = {
            "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
            "StepScaling": "StepScalingPolicyConfiguration",
        }
        if kind not in configurations:
            raise self.invalid(f"{kind} is not supported for service namespace sagemaker")
        given = {key for key in request if key.endswith("PolicyConfiguration")}
        if given != {configurations[kind]}:
            raise self.invalid(f"PolicyType {kind} needs {configurations[kind]} and no other configuration")
        if kind == "StepScaling":
            steps = request["StepScalingPolicyConfiguration"]
            if len(steps.get("StepAdjustments", [])) > MAX_STEPS:
                raise ServiceError("LimitExceededException", f"Cannot have more than {MAX_STEPS} step adjustments")
            if problem := step_problems(steps):
                raise self.invalid(problem)
            return
        metric = self._tracked_metric(target, request["TargetTrackingScalingPolicyConfiguration"])
        for other in target.policies.values():
            if (
                other.name != request["PolicyName"]
                and other.tracking
                and self._tracked_metric(target, other.tracking) == metric
            ):
                raise self.invalid("Only one TargetTrackingScaling policy for a given metric specification is allowed.")

    def _tracked_metric(self, target: Target, tracking: Mapping[str, Any]) -> dict[str, Any]:
        """The metric part of the alarms of a target-tracking policy; refuses what AAS would."""
        if tracking["TargetValue"] <= 0:
            raise self.invalid("TargetValue must be greater than 0")
        custom, predefined = (tracking.get(f"{kind}MetricSpecification") for kind in ("Customized", "Predefined"))
        if (custom is None) == (predefined is None):
            raise self.invalid(
                "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification is needed"
            )
        if predefined is not None:
            kind = predefined["PredefinedMetricType"]
            if not kind.startswith(FITTING[target.resource.dimension]) or kind not in PREDEFINED:
                raise self.invalid(f"{kind} does not apply to {target.resource.dimension}")
            metric, stat = PREDEFINED[kind]
            dimensions = [{"Name": name, "Value": value} for name, value in target.resource.names.items()]
            return {"Namespace": "AWS/SageMaker", "MetricName": metric, "Statistic": stat, "Dimensions": dimensions}
        assert custom is not None  # noqa: S101 - one of the two is there
        if ("Metrics" in custom) == ("MetricName" in custom):
            raise self.invalid("CustomizedMetricSpecification needs either Metrics or a single metric")
        if "Metrics" not in custom:
            if not {"Namespace", "Statistic"} <= custom.keys():
                raise self.invalid("Namespace, MetricName and Statistic are required for a customized metric")
            sorted_dimensions = sorted(custom.get("Dimensions", []), key=lambda each: str(each["Name"]))
            single = {key: custom[key] for key in ("Namespace", "MetricName", "Statistic")}
            return {**single, "Dimensions": sorted_dimensions}
        if [item.get("ReturnData", True) for item in custom["Metrics"]].count(True) != 1:
            raise self.invalid("Exactly one element of Metrics must have ReturnData set to true")
        return {"Metrics": [_with_period(item) for item in custom["Metrics"]]}

    def _put_tracking_alarms(self, target: Target, policy: Policy, tracking: Mapping[str, Any]) -> tuple[str, ...]:
        """3 of 3 minutes above the target scale out, 15 of 15 below 0.9 of it scale in (2.1)."""
        metric = self._tracked_metric(target, tracking)
        if "Metrics" not in metric:
            metric["Period"] = 60
        caller = f"{policy.arn}:createdBy/{stable_uuid('created-by', policy.arn)}"
        value = tracking["TargetValue"]
        names = []
        for side, operator, threshold, minutes in (
            ("High", "GreaterThanThreshold", value, 3),
            ("Low", "LessThanThreshold", value * LOW_ALARM_FACTOR, 15),
        ):
            unique = stable_uuid("alarm", policy.arn, side)
            names.append(f"TargetTracking-{target.resource.resource_id}-Alarm{side}-{unique}")
            self.cloudwatch.put_alarm(
                {
                    **metric,
                    "AlarmName": names[-1],
                    "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {caller}.",
                    "AlarmActions": [caller],
                    "EvaluationPeriods": minutes,
                    "Threshold": threshold,
                    "ComparisonOperator": operator,
                }
            )
        return tuple(names)

    def _alarm_references(self, policy: Policy) -> list[dict[str, str]]:
        """Its own alarms of target tracking; of a step policy whatever calls it."""
        alarms = [self.cloudwatch.alarms[name] for name in policy.alarm_names if name in self.cloudwatch.alarms]
        if policy.tracking is None:
            alarms = _calling(policy, self.cloudwatch.alarms.values())
        return [{"AlarmName": alarm.name, "AlarmARN": alarm.arn} for alarm in alarms]

    def _delete_alarms(self, policy: Policy) -> None:
        for name in policy.alarm_names:
            self.cloudwatch.alarms.pop(name, None)
        policy.alarm_names = ()

    def delete_scaling_policy(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Target-tracking alarms go with it; alarms that call a step policy stay, without the action that did (1.3)."""
        target = self.targets.get(params["ResourceId"])
        policy = target.policies.pop(params["PolicyName"], None) if target else None
        if policy is None:
            raise _not_found(f"scaling policy found with policy name: {params['PolicyName']}", params)
        for alarm in _calling(policy, self.cloudwatch.alarms.values()):
            alarm.config["AlarmActions"] = [a for a in alarm.actions if not a.startswith(policy.arn)]
        self._delete_alarms(policy)
        return {}

    def describe_scaling_policies(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ten to a page."""
        names = params.get("PolicyNames")
        found = [
            {
                **policy.request,
                "PolicyARN": policy.arn,
                "CreationTime": policy.created,
                "Alarms": self._alarm_references(policy),
            }
            for target in self._targets_asked_for(params)
            for name, policy in sorted(target.policies.items())
            if not names or name in names
        ]
        return self._described("ScalingPolicies", found, params, Page(10, 10))

    def _targets_asked_for(self, params: Mapping[str, Any]) -> list[Target]:
        wanted = params.get("ResourceId")
        return [target for resource_id, target in sorted(self.targets.items()) if wanted in (None, resource_id)]

    # ---- scheduled actions (1.6) ------------------------------------------------------------------------------------

    def put_scheduled_action(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """An update replaces the whole action: what is not passed is deleted."""
        target = self._registered(params)
        name, bounds = params["ScheduledActionName"], params.get("ScalableTargetAction", {})
        if "Schedule" not in params:
            raise self.invalid("Schedule is required")
        if not bounds:
            raise self.invalid("At least one of minimum capacity and maximum capacity should be provided")
        minimum, maximum = bounds.get("MinCapacity", 0), bounds.get("MaxCapacity", float("inf"))
        if minimum > maximum:
            raise self.invalid("Maximum capacity cannot be less than minimum capacity")
        old = target.actions.get(name)
        if old is None and len(target.actions) >= MAX_SCHEDULED_ACTIONS:
            raise ServiceError(
                "LimitExceededException", f"Cannot have more than {MAX_SCHEDULED_ACTIONS} scheduled actions"
            )
        now = self.world.now
        try:
            when = schedule.parse(params["Schedule"], params.get("Timezone", "UTC"), params.get("StartTime", now))
        except ValueError as error:
            raise self.invalid(str(error)) from error
        resource = f"resource/sagemaker/{target.resource.resource_id}:scheduledActionName/{name}"
        arn = self.world.arn("autoscaling", f"scheduledAction:{stable_uuid('action', resource)}:{resource}")
        target.actions[name] = ScheduledAction(arn, dict(params), old.created if old else now, when)
        return {}

    def delete_scheduled_action(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Bounds it has set stay."""
        target = self.targets.get(params["ResourceId"])
        if target is None or target.actions.pop(params["ScheduledActionName"], None) is None:
            raise _not_found(f"scheduled action found with name: {params['ScheduledActionName']}", params)
        return {}

    def describe_scheduled_actions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Fifty to a page."""
        names = params.get("ScheduledActionNames")
        found = [
            {**action.request, "ScheduledActionARN": action.arn, "CreationTime": action.created}
            for target in self._targets_asked_for(params)
            for name, action in sorted(target.actions.items())
            if not names or name in names
        ]
        return self._described("ScheduledActions", found, params, Page(50, 50))

    def run_scheduled_actions(self) -> None:
        """Set the bounds of actions that are due; nothing is reverted later, and cooldowns do not matter."""
        for target in self.targets.values():
            if target.suspended["ScheduledScalingSuspended"]:
                continue
            for name, action in target.actions.items():
                if action.due(self.world.now):
                    self._run(target, name, action.request["ScalableTargetAction"])

    def _run(self, target: Target, name: str, bounds: Mapping[str, int]) -> None:
        minimum, maximum = bounds.get("MinCapacity", target.minimum), bounds.get("MaxCapacity", target.maximum)
        parts = [
            f"{side} capacity to {bounds[key]}"
            for side, key in (("min", "MinCapacity"), ("max", "MaxCapacity"))
            if key in bounds
        ]
        what = " and ".join(parts)
        activity = self._record(target, f"Setting {what}", f"scheduled action name {name} was triggered")
        if target.resource.status != IN_SERVICE:
            resource_id, status = target.resource.resource_id, target.resource.status
            what_is = "endpoint" if resource_id.startswith("endpoint") else "inference component"
            reason = f"Resource Id [{resource_id}] is not scalable. Reason: {what_is} is {status}"
            self._close(activity, "Failed", f"Failed to set {what}. {reason}")
            return
        try:
            self._check_bounds(target.resource, minimum, maximum)
        except ServiceError as error:
            self._close(activity, "Failed", f"Failed to set {what}. {error.message}")
            return
        self._close(activity, "Successful", f"Successfully set {what}")
        self._set_bounds(target, minimum, maximum)

    # ---- activities (1.7) -------------------------------------------------------------------------------------------

    def describe_scaling_activities(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Newest first; activities that did not scale only if asked for."""
        oldest, everything = self.world.now - ACTIVITY_MEMORY, params.get("IncludeNotScaledActivities", False)
        found = (
            dict(activity)
            for activity in reversed(self.activities)
            if activity["StartTime"] >= oldest
            and params.get("ResourceId") in (None, activity["ResourceId"])
            and (everything or "NotScaledReasons" not in activity)
        )
        return self._described("ScalingActivities", found, params, Page(50, 50))

    def _record(self, target: Target, description: str, cause: str) -> dict[str, Any]:
        activity = {
            "ActivityId": stable_uuid("activity", len(self.activities)),
            **target.identity,
            "Description": description,
            "Cause": cause,
            "StartTime": self.world.now,
            "StatusCode": "InProgress",
        }
        self.activities.append(activity)
        target.last_not_scaled = ()
        return activity

    def _close(self, activity: dict[str, Any], code: str, message: str) -> None:
        activity.update(StatusCode=code, StatusMessage=message, EndTime=self.world.now)

    def _not_scaled(self, target: Target, wish: Wish, code: str, **numbers: int) -> None:
        """Only the first is kept until the reason changes."""
        seen = (code, wish.policy.name)
        if target.last_not_scaled == seen:
            return
        activity = self._record(target, "Attempting to scale due to alarm triggered", wish.cause)
        self._close(activity, "Failed", f"Not scaled: {code}")
        activity["NotScaledReasons"] = [{"Code": code, **numbers}]
        target.last_not_scaled = seen

    # ---- what happens by itself (2) ---------------------------------------------------------------------------------

    def _order(self, target: Target, capacity: int, cause: str, cooldown: timedelta | None) -> None:
        """Ask SageMaker for a capacity; a refusal fails the activity and starts no cooldown."""
        resource = target.resource
        activity = self._record(target, f"Setting desired {resource.counted} to {capacity}.", cause)
        before = target.resource.current_count
        try:
            if isinstance(resource, Component):
                self.sagemaker.components.order(resource, capacity)
            else:
                self.sagemaker.order(resource, capacity)
        except ServiceError as error:
            self._close(activity, "Failed", _failed(target, capacity, error.message))
            return
        target.change = Change(before=before, after=capacity, cooldown=cooldown, activity=activity)

    def act(self) -> None:
        """Finish what has arrived, then let the alarms of every target speak."""
        every = self.cloudwatch.alarms.values()
        ringing = [alarm for alarm in every if alarm.state.value == "ALARM" and alarm.latest is not None]
        for target in self.targets.values():
            self._finish(target)
            wish = self._wish(target, ringing)
            if wish is None:
                continue
            if target.resource.status != IN_SERVICE:
                self._not_scaled(target, wish, "TargetServicePutResourceAsUnscalable")
                continue
            self._follow(target, wish)

    def _finish(self, target: Target) -> None:
        change, resource, now = target.change, target.resource, self.world.now
        if change is None or target.resource.status != IN_SERVICE:
            return
        target.change = None
        if resource.failure:
            self._close(change.activity, "Failed", _failed(target, change.after, resource.failure))
            return
        if resource.current_count != change.after:
            text = f"Desired {resource.counted} was set to {resource.current_count} meanwhile"
            self._close(change.activity, "Overridden", text)
            return
        counted = f"desired {resource.counted} to {change.after}"
        done = f"Successfully set {counted}. Change successfully fulfilled by sagemaker."
        self._close(change.activity, "Successful", done)
        scaled_out = change.after > change.before
        if scaled_out and change.after == target.maximum:
            self._emit_scaled_to_max(target, change)
        if change.cooldown is None:
            return
        if scaled_out:
            target.out_until, target.out_base = now + change.cooldown, change.before
        else:
            target.in_until = now + change.cooldown

    def _wish(self, target: Target, ringing: Sequence[Alarm]) -> Wish | None:
        """The one capacity to go for: the largest scale-out of any policy, else the largest scale-in (2.4).

        Target tracking scales in only if all its policies that may do so agree; a silent metric therefore blocks it.
        A step policy's scale-in asks nobody.
        """
        current = target.resource.desired_count
        tracking = [policy for policy in target.policies.values() if policy.tracking]
        stepping = [policy for policy in target.policies.values() if not policy.tracking]
        cooling = target.out_until is not None and self.world.now < target.out_until
        base = min(current, target.out_base) if cooling else current  # what was just added counts as part of it (2.3)
        outs = [*self._tracking_wishes(tracking, HIGH, base), *self._step_wishes(stepping, base, ringing)]
        outs = [wish for wish in outs if wish.capacity > current]
        if outs:
            suspended = target.suspended["DynamicScalingOutSuspended"]
            return None if suspended else max(outs, key=_capacity)
        voters = [policy for policy in tracking if not (policy.tracking or {}).get("DisableScaleIn", False)]
        votes = self._tracking_wishes(voters, LOW, current)
        agreed = [max(votes, key=_capacity)] if votes and len(votes) == len(voters) else []
        ins = [wish for wish in [*agreed, *self._step_wishes(stepping, current, ringing)] if wish.capacity < current]
        if not ins or target.suspended["DynamicScalingInSuspended"]:
            return None
        return max(ins, key=_capacity)

    def _tracking_wishes(self, policies: Sequence[Policy], side: int, capacity: int) -> list[Wish]:
        wishes = []
        for policy in policies:
            alarm = self.cloudwatch.alarms.get(policy.alarm_names[side])
            if policy.tracking and alarm and alarm.state.value == "ALARM" and alarm.latest is not None:
                wanted = tracking_capacity(capacity, alarm.latest, policy.tracking["TargetValue"])
                wishes.append(Wish(wanted, policy, alarm))
        return wishes

    def _step_wishes(self, policies: Sequence[Policy], capacity: int, ringing: Sequence[Alarm]) -> list[Wish]:
        wishes = []
        for policy in policies:
            for alarm in _calling(policy, ringing):
                if alarm.latest is not None:
                    wanted = step_capacity(capacity, alarm.latest, alarm.config, policy.steps)
                    wishes += [Wish(wanted, policy, alarm)] if wanted is not None else []
        return wishes

    def _follow(self, target: Target, wish: Wish) -> None:
        current, now = target.resource.desired_count, self.world.now
        if wish.capacity > current:
            if current >= target.maximum:
                self._not_scaled(
                    target, wish, "AlreadyAtMaxCapacity", MaxCapacity=target.maximum, CurrentCapacity=current
                )
                return
            target.in_until = None  # a scale-out ends the cooldown of a scale-in
            capacity = max(target.minimum, min(wish.capacity, target.maximum))
            self._order(target, capacity, wish.cause, wish.policy.cooldown(out=True))
            return
        if target.in_until is not None and now < target.in_until:
            return
        if current <= target.minimum:
            self._not_scaled(target, wish, "AlreadyAtMinCapacity", MinCapacity=target.minimum, CurrentCapacity=current)
            return
        capacity = min(target.maximum, max(wish.capacity, target.minimum))
        self._order(target, capacity, wish.cause, wish.policy.cooldown(out=False))

    def _emit_scaled_to_max(self, target: Target, change: Change) -> None:
        """The only event of this service (6.5)."""
        moments = {
            key: f"{change.activity[name]:%Y-%m-%dT%H:%M:%SZ}"
            for key, name in (("startTime", "StartTime"), ("endTime", "EndTime"))
        }
        detail = {
            **moments,
            "newDesiredCapacity": change.after,
            "oldDesiredCapacity": change.before,
            "minCapacity": target.minimum,
            "maxCapacity": target.maximum,
            "resourceId": target.resource.resource_id,
            "scalableDimension": target.resource.dimension,
            "serviceNamespace": "sagemaker",
            "statusCode": "Successful",
            "scaledToMax": True,
            "direction": "scale-out",
        }
        kind = "Application Auto Scaling Scaling Activity State Change"
        self.world.emit("aws.application-autoscaling", kind, [], detail)


def _failed(target: Target, capacity: int, reason: str) -> str:
    return f"Failed to set desired {target.resource.counted} to {capacity}. Reason: {reason}"


def _capacity(wish: Wish) -> int:
    return wish.capacity


def _with_period(item: Mapping[str, Any]) -> dict[str, Any]:
    """Metric math of target tracking runs by the minute; its API knows no Period (1.5)."""
    if "MetricStat" not in item:
        return dict(item)
    return {**item, "MetricStat": {**item["MetricStat"], "Period": 60}}


def _calling(policy: Policy, alarms: Iterable[Alarm]) -> list[Alarm]:
    """Those that call a policy. Alarm actions may carry a suffix behind its ARN, so prefixes are compared (1.5)."""
    arns = (policy.arn, f"{policy.arn}:")
    return [
        alarm for alarm in alarms if any(action == arns[0] or action.startswith(arns[1]) for action in alarm.actions)
    ]


def _not_found(what: str, params: Mapping[str, Any]) -> ServiceError:
    return ServiceError(
        "ObjectNotFoundException",
        f"No {what} for service namespace: {params['ServiceNamespace']}, resource ID: {params['ResourceId']}, "
        f"scalable dimension: {params['ScalableDimension']}",
    )
