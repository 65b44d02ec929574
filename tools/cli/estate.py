"""What an account has in one Region: endpoints, what scales them, and the alarms by which it does.

Only reads, one call after the other; botocore waits and asks again where AWS throttles.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Protocol

from cli.targets import refuse_unknown
from core.aws.application_autoscaling import scheduled_action
from core.aws.cloudwatch import ALARMS_A_CALL
from core.aws.errors import listed, reading
from core.aws.sagemaker import LISTED_A_CALL, SageMaker
from core.batches import batches
from core.errors import ObservationError
from core.model import Capacity, Dimension, Envelope, Missing, ScalableTarget, Serving
from core.ports import ScheduledAction, Variant

QUOTA = ("application-autoscaling", "L-1AAF0700")
"""Service and code of "Scalable targets for SageMaker"."""

USUAL_QUOTA = 500
"""Where nobody raised it (facts 1.9)."""

OWNED = "tidegate-"
"""What the names of Tidegate's own policies and scheduled actions begin with, whatever its stage."""

TRACKING, STEPS = "TargetTrackingScaling", "StepScaling"

Told = Callable[[int, int], None]
"""Hears how many endpoints of how many were read."""


class Source(Protocol):
    """Where boto3 clients come from, such as `cli.options.Clients`."""

    def of(self, service: str) -> Any:  # noqa: ANN401 - clients of all services
        """Return a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm that calls a policy; `described` is DescribeAlarms' own shape, which PutMetricAlarm shares."""

    name: str
    described: Mapping[str, Any]
    state: str | None = None
    """OK, ALARM or INSUFFICIENT_DATA; None in a template."""

    since: datetime | None = None
    """When it came into that state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A scaling policy of AAS and the alarms that call it; `configuration` is AAS's own shape."""

    name: str
    policy_type: str
    configuration: Mapping[str, Any]
    alarms: tuple[Alarm, ...] = ()
    missing_alarms: tuple[str, ...] = ()
    """Those that AAS names and CloudWatch does not know."""

    @property
    def metric(self) -> str | None:
        """What target tracking follows: AAS's own name, the metric's, or the expression; None of another type."""
        if self.policy_type != TRACKING:
            return None
        if predefined := self.configuration.get("PredefinedMetricSpecification"):
            return str(predefined["PredefinedMetricType"])
        return measured(self.configuration.get("CustomizedMetricSpecification", {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A scalable target, and all that hangs on it."""

    target: ScalableTarget
    bounds: Envelope
    suspended: tuple[str, ...] = ()
    """Of DynamicScalingIn, DynamicScalingOut and ScheduledScaling those that are."""

    created_at: datetime | None = None
    policies: tuple[Policy, ...] = ()
    actions: tuple[ScheduledAction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """What an endpoint hosts, a variant or an inference component, and what scales it."""

    variant: Variant
    capacity: Capacity | Missing
    registration: Registration | None = None

    @property
    def target(self) -> ScalableTarget:
        """What would be, or is, registered."""
        return self.variant.target

    @property
    def name(self) -> str:
        """Of the variant or component."""
        return [*self.target.names.values()][-1]

    @property
    def enrolled(self) -> bool:
        """Whether Tidegate scales it already."""
        made = self.registration
        names = [each.name for each in made.policies] + [each.name for each in made.actions] if made else []
        return any(name.startswith(OWNED) for name in names)

    @property
    def unmanaged(self) -> str | None:
        """Why there is nothing here that AAS could scale; None if there is."""
        component = self.variant.serving is Serving.INFERENCE_COMPONENT
        if self.variant.managed_minimum is not None and not component:
            return "SageMaker scales its instances itself, by the copies of its inference components"
        idle = isinstance(self.capacity, Capacity) and not (self.capacity.current or self.capacity.desired)
        if self.variant.serving is Serving.SERVERLESS and idle and self.registration is None:
            return "serverless without provisioned concurrency: there is no capacity to scale"
        if (self.variant.instance_type or "").startswith("ml.t2."):
            return "burstable instances (ml.t2) cannot be scaled automatically"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint."""

    name: str
    arn: str
    status: str
    created_at: datetime | None = None
    modified_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    hosted: tuple[Hosted, ...] = ()
    trouble: str | None = None
    """Why it could not be described; then nothing is known of what it hosts."""

    @property
    def kind(self) -> Serving | None:
        """What serves the requests, inference components before the variant under them; None if that is not known."""
        kinds = {each.variant.serving for each in self.hosted}
        first = self.hosted[0].variant.serving if self.hosted else None
        return Serving.INFERENCE_COMPONENT if Serving.INFERENCE_COMPONENT in kinds else first


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many scalable targets the account may have in this Region, and has."""

    limit: int
    used: int
    known: bool = True
    """Whether Service Quotas said so; else it is the usual one."""

    @property
    def left(self) -> int:
        """So many more may be registered."""
        return self.limit - self.used


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """All of it, as read at one time."""

    region: str
    read_at: datetime
    endpoints: tuple[Endpoint, ...]
    strays: tuple[Registration, ...] = ()
    """Registered, and no endpoint that was looked at hosts it."""

    quota: Quota | None = None
    """None in a template."""

    unread: tuple[str, ...] = ()
    """What could not be read and is left out."""

    remarks: tuple[str, ...] = ()
    """What a template does not tell, such as a name that only a deployment makes."""

    @property
    def hosted(self) -> tuple[tuple[Endpoint, Hosted], ...]:
        """Everything that is hosted, with its endpoint."""
        return tuple((endpoint, each) for endpoint in self.endpoints for each in endpoint.hosted)


def read_estate(aws: Source, now: datetime, only: Collection[str] = (), told: Told = lambda *_: None) -> Estate:
    """Read an account's endpoints in a Region and what scales them.

    Args:
        aws: where clients come from; they need nothing but rights to read (docs/permissions.md).
        now: what the clock shows.
        only: these endpoints; all if empty.
        told: hears of each endpoint that was read.

    Raises:
        ObservationError: endpoints or scalable targets cannot be listed. What else cannot be read is said in the
            endpoint's `trouble`, or in `unread`.
        RefusedError: there is no endpoint of a name.
    """
    client = aws.of("sagemaker")
    hosting = SageMaker(lambda: client, lambda: aws.of("resourcegroupstaggingapi"))
    unread: list[str] = []
    tags: Mapping[str, Mapping[str, str]] = {}
    try:
        tags = hosting.tagged()
    except ObservationError as err:
        unread.append(f"tags: {err}")
    registered = _registrations(aws.of("application-autoscaling"), aws.of("cloudwatch"))
    every = _listed(client)
    refuse_unknown(only, [each["EndpointName"] for each in every], str(client.meta.region_name))
    listed = [each for each in every if not only or each["EndpointName"] in only]
    endpoints: list[Endpoint] = []
    for done, summary in enumerate(listed, start=1):
        endpoint = _endpoint(summary, tags, hosting, registered)
        endpoints += [endpoint] if endpoint else []
        told(done, len(listed))
    strays = () if only else tuple(_strays(registered, endpoints))
    quota, trouble = _quota(aws, len(registered))
    return Estate(
        region=str(client.meta.region_name),
        read_at=now,
        endpoints=tuple(endpoints),
        strays=strays,
        quota=quota,
        unread=(*unread, *trouble),
    )


def _listed(client: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - boto3's `sagemaker`
    order = {"SortBy": "Name", "SortOrder": "Ascending", "PaginationConfig": {"PageSize": LISTED_A_CALL}}
    found = listed(client, "list_endpoints", "Endpoints", "ListEndpoints", **order)
    return sorted(found, key=lambda each: str(each["EndpointName"]))


def _endpoint(
    summary: Mapping[str, Any],
    tags: Mapping[str, Mapping[str, str]],
    hosting: SageMaker,
    registered: Mapping[ScalableTarget, Registration],
) -> Endpoint | None:
    """Return an endpoint with what it hosts, None if it was deleted meanwhile."""
    name = summary["EndpointName"]
    endpoint = Endpoint(
        name=name,
        arn=summary["EndpointArn"],
        status=summary["EndpointStatus"],
        created_at=summary["CreationTime"].astimezone(UTC),
        modified_at=summary["LastModifiedTime"].astimezone(UTC),
        tags=tags.get(name.lower(), {}),
    )
    try:
        hosted = tuple(
            Hosted(variant=each, capacity=hosting.capacity(each.target), registration=registered.get(each.target))
            for each in hosting.variants(name)
        )
    except ObservationError as err:
        return replace(endpoint, trouble=str(err))
    gone = not hosted and endpoint.status == "InService"  # an endpoint that is being made has no variants yet
    return None if gone else replace(endpoint, hosted=hosted)


def _strays(registered: Mapping[ScalableTarget, Registration], endpoints: Sequence[Endpoint]) -> Iterator[Registration]:
    """Yield what no endpoint hosts; of one that could not be described nobody knows what it hosts."""
    seen = {each.target for endpoint in endpoints for each in endpoint.hosted}
    unknown = {endpoint.name for endpoint in endpoints if endpoint.trouble}
    for target, each in sorted(registered.items()):
        maybe = unknown and target.names.get("EndpointName") in {None, *unknown}
        if target not in seen and not maybe:
            yield each


def _registrations(aas: Any, cloudwatch: Any) -> dict[ScalableTarget, Registration]:  # noqa: ANN401 - boto3's clients
    """Return every scalable target of SageMaker with its policies, their alarms and its scheduled actions."""
    targets = _all(aas, "describe_scalable_targets", "ScalableTargets")
    policies = _all(aas, "describe_scaling_policies", "ScalingPolicies")
    actions = _all(aas, "describe_scheduled_actions", "ScheduledActions")
    for policy in policies:
        if policy["PolicyType"] == STEPS and not policy.get("Alarms"):  # AWS does not say that it names those of others
            policy["Alarms"] = [{"AlarmName": name} for name in _calling(cloudwatch, policy["PolicyARN"])]
    names = [alarm["AlarmName"] for policy in policies for alarm in policy.get("Alarms", ())]
    alarms = _alarms(cloudwatch, names)
    of_target = {key: tuple(_policy(each, alarms) for each in found) for key, found in _by_target(policies)}
    scheduled = {key: tuple(scheduled_action(each) for each in found) for key, found in _by_target(actions)}
    found: dict[ScalableTarget, Registration] = {}
    for each in targets:
        key = _target(each)
        found[key] = Registration(
            target=key,
            bounds=Envelope(each["MinCapacity"], each["MaxCapacity"]),
            suspended=tuple(n.removesuffix("Suspended") for n, on in each.get("SuspendedState", {}).items() if on),
            created_at=each["CreationTime"].astimezone(UTC),
            policies=of_target.get(key, ()),
            actions=scheduled.get(key, ()),
        )
    return found


def _all(aas: Any, operation: str, key: str) -> list[dict[str, Any]]:  # noqa: ANN401 - boto3's client
    """Return everything of one sort, in a call for each 10 or 50 instead of one a target."""
    return listed(aas, operation, key, operation, ServiceNamespace="sagemaker")


def _target(item: Mapping[str, Any]) -> ScalableTarget:
    return ScalableTarget(item["ResourceId"], Dimension(item["ScalableDimension"]))


def _by_target(items: Iterable[dict[str, Any]]) -> list[tuple[ScalableTarget, list[dict[str, Any]]]]:
    return [(target, [*found]) for target, found in groupby(sorted(items, key=_target), key=_target)]


def _policy(item: Mapping[str, Any], alarms: Mapping[str, Alarm]) -> Policy:
    names = [alarm["AlarmName"] for alarm in item.get("Alarms", ())]
    return Policy(
        name=item["PolicyName"],
        policy_type=item["PolicyType"],
        configuration=item.get(f"{item['PolicyType']}PolicyConfiguration", {}),
        alarms=tuple(alarms[name] for name in names if name in alarms),
        missing_alarms=tuple(name for name in names if name not in alarms),
    )


def _calling(cloudwatch: Any, arn: str) -> list[str]:  # noqa: ANN401 - boto3's client
    """Return the names of the alarms that have this policy among their actions, switched on or not."""
    asked, what = {"ActionPrefix": arn, "AlarmTypes": ["MetricAlarm"]}, f"DescribeAlarms that call {arn}"
    return [alarm["AlarmName"] for alarm in listed(cloudwatch, "describe_alarms", "MetricAlarms", what, **asked)]


def _alarms(cloudwatch: Any, names: Sequence[str]) -> dict[str, Alarm]:  # noqa: ANN401 - boto3's client
    found: dict[str, Alarm] = {}
    for batch in batches(dict.fromkeys(names), ALARMS_A_CALL):
        what = f"DescribeAlarms of {batch[0]} and {len(batch) - 1} more"
        for each in listed(cloudwatch, "describe_alarms", "MetricAlarms", what, AlarmNames=batch):
            since = each.get("StateTransitionedTimestamp") or each.get("StateUpdatedTimestamp")
            found[each["AlarmName"]] = Alarm(
                name=each["AlarmName"],
                described=each,
                state=each.get("StateValue"),
                since=since and since.astimezone(UTC),
            )
    return found


def _quota(aws: Source, used: int) -> tuple[Quota, list[str]]:
    """Return the quota of scalable targets: the account's own, or the usual one and why the account's is not known."""
    service, code = QUOTA
    try:
        with reading("GetServiceQuota of scalable targets"):
            said = aws.of("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)
            return Quota(limit=int(said["Quota"]["Value"]), used=used), []
    except ObservationError as err:
        return Quota(limit=USUAL_QUOTA, used=used, known=False), [f"quota, {USUAL_QUOTA} is assumed: {err}"]


def measured(spec: Mapping[str, Any]) -> str:
    """Return the name of what an alarm or a customized metric measures: the metric's, or the expression's."""
    if "Metrics" not in spec:
        return str(spec.get("MetricName", ""))
    returned: Mapping[str, Any] = next((each for each in spec["Metrics"] if each.get("ReturnData", True)), {})
    return str(returned.get("Expression") or returned.get("MetricStat", {}).get("Metric", {}).get("MetricName", ""))


def parts_of(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return each metric behind an alarm or a customized metric: its Namespace, MetricName and Dimensions."""
    if "Metrics" not in spec:
        return (spec,) if "MetricName" in spec else ()
    return tuple(each["MetricStat"]["Metric"] for each in spec["Metrics"] if "MetricStat" in each)
