"""Amazon SageMaker endpoints: their variants, configurations and deployments, and finding them by tag.

Capacity takes time: an order sets the desired count and the status Updating; the current count follows when the change
is due. One change at a time (facts 0.9). Left out: canary and linear
deployments shift all traffic at the end of their time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from simulator.components import InferenceComponents, Managed
from simulator.events import epoch_milliseconds
from simulator.service import Page, Service, ServiceError
from simulator.workload import History, RealtimeWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from simulator.events import World
    from simulator.workload import Workload

IN_SERVICE, UPDATING = "InService", "Updating"
SERVERLESS = {"MemorySizeInMB": 4096, "MaxConcurrency": 200}
SHORTAGE = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)
"""As seen in real accounts: the request was taken, and failed minutes later."""


def event_status(status: str) -> str:
    """The API says UpdateRollbackFailed, events say UPDATE_ROLLBACK_FAILED (facts 6.4)."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()


@dataclass(slots=True, kw_only=True)
class Variant:
    """One production variant. `failure` says why its last change of capacity came to nothing."""

    endpoint: Endpoint
    name: str
    instance_type: str
    current_count: int
    desired_count: int
    workload: Workload
    weight: float = 1.0
    failure: str = ""
    serverless: bool = False
    managed: Managed | None = None
    """Managed instance scaling: it hosts inference components, and the instances follow their copies."""

    @property
    def resource_id(self) -> str:
        """As Application Auto Scaling names it."""
        return f"endpoint/{self.endpoint.name}/variant/{self.name}"

    @property
    def dimension(self) -> str:
        """What its counts are: instances, or provisioned concurrency."""
        return f"sagemaker:variant:Desired{'ProvisionedConcurrency' if self.serverless else 'InstanceCount'}"

    @property
    def counted(self) -> str:
        """The same in the words of a scaling activity."""
        return "provisioned concurrency" if self.serverless else "instance count"

    @property
    def names(self) -> dict[str, str]:
        """The dimensions of its metrics."""
        return {"EndpointName": self.endpoint.name, "VariantName": self.name}

    @property
    def status(self) -> str:
        """It can be changed only with its endpoint as a whole."""
        return self.endpoint.status

    @property
    def lowest_count(self) -> int:
        """Zero is for asynchronous endpoints only (facts 5.3)."""
        return 0 if self.endpoint.asynchronous else 1


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One endpoint. `instance_minutes` counts what is billed: from the order of an instance until it is gone.

    `instances_left` says how many more instances AWS has to give at a time, None for any number; `rollback_fails` makes
    a failed deployment end in UpdateRollbackFailed. What every variant has and is asked of the endpoint is the first's.
    """

    name: str
    arn: str
    asynchronous: bool
    tags: dict[str, str]
    provisioning_delay: timedelta
    provisioning_from_zero: timedelta
    removal_delay: timedelta
    instance_quota: int | None
    created: datetime
    modified: datetime
    config_name: str
    pending_config: str | None = None
    variants: dict[str, Variant] = field(default_factory=dict)
    instances_left: int | None = None
    rollback_fails: bool = False
    status: str = IN_SERVICE
    failure: str = ""
    other_fleet: int = 0
    """Instances beside those of `variants`: the next fleet of a blue/green deployment, then the last."""

    steps: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    """What happens next, and when."""

    instance_minutes: int = 0

    @property
    def first(self) -> Variant:
        """The first variant, of most endpoints the only one."""
        return next(iter(self.variants.values()))

    @property
    def variant(self) -> str:
        """Its name."""
        return self.first.name

    @property
    def instance_type(self) -> str:
        """Its instance type."""
        return self.first.instance_type

    @property
    def workload(self) -> Workload:
        """Its traffic."""
        return self.first.workload

    @property
    def current_count(self) -> int:
        """Its instances in service."""
        return self.first.current_count

    @property
    def desired_count(self) -> int:
        """Its instances asked for."""
        return self.first.desired_count

    @property
    def resource_id(self) -> str:
        """Its name in Application Auto Scaling."""
        return self.first.resource_id

    def can_have(self, count: int) -> bool:
        """Whether AWS has as many instances left."""
        return self.instances_left is None or count <= self.instances_left

    @property
    def billed(self) -> int:
        """Instances that cost money now."""
        own = (v for v in self.variants.values() if not v.serverless)
        return self.other_fleet + sum(max(v.current_count, v.desired_count) for v in own)


class Scaling(Protocol):
    """What SageMaker asks Application Auto Scaling about variants."""

    def is_registered(self, resource_id: str) -> bool:
        """Whether a variant is a scalable target."""
        ...

    def forget(self, resource_id: str) -> None:
        """Deregister it, if it is one."""
        ...


@dataclass(slots=True)
class SageMaker(Service):
    """The endpoints and endpoint configurations of one account."""

    name = "sagemaker"

    world: World
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    scaling: Scaling | None = None
    components: InferenceComponents = field(init=False)
    unserved: dict[str, Workload] = field(default_factory=dict)
    """Traffic of endpoints that were deleted: it goes on, and meets the next endpoint of that name."""

    def __post_init__(self) -> None:
        self.components = InferenceComponents(self.world)

    def add(self, endpoint: Endpoint, variant: Variant) -> None:
        """Put an endpoint with one variant into service; names are unique."""
        if endpoint.name in self.endpoints:
            raise ValueError(f"endpoint {endpoint.name!r} exists already")
        self.create_endpoint_config(
            {
                "EndpointConfigName": endpoint.config_name,
                "ProductionVariants": [_production_variant(variant, max(1, variant.current_count))],
                **({"AsyncInferenceConfig": _results_of(endpoint.name)} if endpoint.asynchronous else {}),
            }
        )
        endpoint.variants[variant.name] = variant
        self.endpoints[endpoint.name] = endpoint

    # ---- capacity ----------------------------------------------------------------------------------------------------

    def order(self, variant: Variant, count: int) -> None:
        """Change the instance count, or raise what SageMaker would. The same count again changes nothing."""
        endpoint = variant.endpoint
        self._must_be_in_service(endpoint)
        if count < variant.lowest_count:
            raise self.invalid(f"Instance count of {variant.resource_id} must be at least {variant.lowest_count}")
        if not variant.serverless:
            self._check_quota(endpoint, variant.instance_type, variant.current_count, count - variant.current_count)
        if count == variant.desired_count:
            return
        before, variant.desired_count, variant.failure = variant.desired_count, count, ""
        out = count > variant.current_count
        message = f"Scaling {'out' if out else 'in'} desired {variant.counted} to {count}."
        self._set_status(endpoint, UPDATING, {variant.name: message})
        start = endpoint.provisioning_delay if variant.current_count else endpoint.provisioning_from_zero
        arrive = partial(self._arrive, variant, before, count)
        self._then(endpoint, start if out else endpoint.removal_delay, arrive)

    def _arrive(self, variant: Variant, before: int, count: int) -> None:
        """Let what was ordered serve, or come to nothing."""
        more = count - variant.current_count
        if more > 0 and not variant.endpoint.can_have(more):
            variant.desired_count, variant.failure = before, SHORTAGE
        else:
            variant.current_count = count
        self._set_status(variant.endpoint, IN_SERVICE)

    def _must_be_in_service(self, endpoint: Endpoint) -> None:
        if endpoint.status != IN_SERVICE:
            raise self.invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')

    def _check_quota(self, endpoint: Endpoint, instance_type: str, used: int, more: int) -> None:
        quota = endpoint.instance_quota
        if quota is not None and more > 0 and used + more > quota:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{instance_type} for endpoint usage' is {quota} Instances, "
                f"with current utilization of {used} Instances and a request delta of {more} "
                "Instances. Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas "
                "is not available, contact AWS support to request an increase for this quota.",
            )

    def _then(self, endpoint: Endpoint, wait: timedelta, step: Callable[[], None]) -> None:
        """Let something happen after what is to happen already."""
        last = endpoint.steps[-1][0] if endpoint.steps else self.world.now
        endpoint.steps.append((last + wait, step))
        self._play_due(endpoint)

    def finish_changes(self) -> None:
        """Let capacity arrive, or leave, that is due now."""
        for endpoint in [*self.endpoints.values()]:
            self._play_due(endpoint)
        self.components.finish_changes()

    def _play_due(self, endpoint: Endpoint) -> None:
        while endpoint.steps and endpoint.steps[0][0] <= self.world.now:
            endpoint.steps.pop(0)[1]()

    # ---- deployments -------------------------------------------------------------------------------------------------

    def create_endpoint_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Keep it as it was given."""
        name = params["EndpointConfigName"]
        arn = self.world.arn("sagemaker", f"endpoint-config/{name}")
        if name in self.configs:
            raise self.invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        self.configs[name] = {**params, "EndpointConfigArn": arn, "CreationTime": self.world.now}
        return {"EndpointConfigArn": arn}

    def update_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Deploy a configuration. Its counts and weights replace the scaled ones unless properties are retained.

        An autoscaled variant may neither be removed nor change its instance type (2.7).
        """
        endpoint, config = self.find(params["EndpointName"]), self._config(params["EndpointConfigName"])
        self._must_be_in_service(endpoint)
        excluded = {each["VariantPropertyType"] for each in params.get("ExcludeRetainedVariantProperties", ())}
        retain = params.get("RetainAllVariantProperties", False)
        wanted = {
            each["VariantName"]: self._deployed(
                endpoint,
                each,
                keep_count=retain and "DesiredInstanceCount" not in excluded,
                keep_weight=retain and "DesiredWeight" not in excluded,
            )
            for each in config["ProductionVariants"]
        }
        self._check_autoscaled(endpoint, wanted)
        policy = params.get("DeploymentConfig", {})
        rolling = policy.get("RollingUpdatePolicy")
        fleet = sum(variant.desired_count for variant in wanted.values())
        batches = _batches(rolling["MaximumBatchSize"], fleet) if rolling else 1
        more, used = ceil(fleet / batches), sum(variant.current_count for variant in endpoint.variants.values())
        self._check_quota(endpoint, next(iter(wanted.values())).instance_type, used, more)
        endpoint.pending_config, endpoint.failure, endpoint.other_fleet = config["EndpointConfigName"], "", more
        self._set_status(endpoint, UPDATING)
        if rolling:
            self._roll(endpoint, wanted, batches, timedelta(seconds=rolling["WaitIntervalInSeconds"]))
        else:
            self._switch(endpoint, wanted, policy.get("BlueGreenUpdatePolicy", {}))
        return {"EndpointArn": endpoint.arn}

    def _deployed(self, endpoint: Endpoint, spec: Mapping[str, Any], *, keep_count: bool, keep_weight: bool) -> Variant:
        """The variant that a configuration makes: a new one gets its share of the endpoint's traffic."""
        old = endpoint.variants.get(spec["VariantName"])
        count = old.desired_count if old and keep_count else spec.get("InitialInstanceCount", 1)
        workload = old.workload if old else _like(next((v.workload for v in endpoint.variants.values()), None))
        return Variant(
            endpoint=endpoint,
            name=spec["VariantName"],
            instance_type=spec.get("InstanceType", "ml.g5.xlarge"),
            current_count=0,
            desired_count=count,
            workload=workload,
            weight=old.weight if old and keep_weight else spec.get("InitialVariantWeight", 1.0),
        )

    def _check_autoscaled(self, endpoint: Endpoint, wanted: Mapping[str, Variant]) -> None:
        bound = [
            old.name
            for old in endpoint.variants.values()
            if self.scaling is not None
            and self.scaling.is_registered(old.resource_id)
            and (old.name not in wanted or wanted[old.name].instance_type != old.instance_type)
        ]
        if bound:
            raise self.invalid(
                f'The variant(s) "[{", ".join(bound)}]" must be deregistered as scalable targets with AutoScaling '
                "before they can be removed or have their instance type updated."
            )

    def _switch(self, endpoint: Endpoint, wanted: Mapping[str, Variant], policy: Mapping[str, Any]) -> None:
        """Blue/green: a whole second fleet is paid for, takes over, and the first goes after the termination wait."""
        fleet, routing = endpoint.other_fleet, policy.get("TrafficRoutingConfiguration", {})
        wait = timedelta(seconds=routing.get("WaitIntervalInSeconds", 0))
        batches = {
            "CANARY": 2,
            "LINEAR": _batches(routing.get("LinearStepSize", {"Type": "CAPACITY_PERCENT", "Value": 100}), fleet),
        }.get(routing.get("Type", ""), 1)

        self._then(endpoint, endpoint.provisioning_delay, partial(self._provisioned, endpoint, fleet))
        if endpoint.status == UPDATING:
            self._then(endpoint, batches * wait, partial(self._take_over, endpoint, wanted))
            termination = timedelta(seconds=policy.get("TerminationWaitInSeconds", 0))
            self._then(endpoint, termination, partial(self._deployment_done, endpoint))

    def _provisioned(self, endpoint: Endpoint, fleet: int) -> None:
        if not endpoint.can_have(fleet):
            self._roll_back(endpoint)

    def _take_over(self, endpoint: Endpoint, wanted: Mapping[str, Variant]) -> None:
        old = sum(variant.current_count for variant in endpoint.variants.values())
        self._replace(endpoint, wanted)
        endpoint.other_fleet = old

    def _roll(self, endpoint: Endpoint, wanted: Mapping[str, Variant], batches: int, wait: timedelta) -> None:
        """Rolling: batch after batch of the old instances is replaced, and counts move with them."""
        before = {name: variant.current_count for name, variant in endpoint.variants.items()}

        def replaced(number: int) -> None:
            if not endpoint.can_have(endpoint.other_fleet):
                self._roll_back(endpoint)
                return
            if number == batches:
                self._replace(endpoint, wanted)
                self._deployment_done(endpoint)
                return
            for name, variant in endpoint.variants.items():
                goal = wanted[name].desired_count if name in wanted else 0
                variant.current_count = before[name] + round((goal - before[name]) * number / batches)

        for number in range(1, batches + 1):
            self._then(endpoint, endpoint.provisioning_delay + wait, partial(replaced, number))
            if endpoint.status != UPDATING:
                break  # rolled back already, where nothing takes any time

    def _replace(self, endpoint: Endpoint, wanted: Mapping[str, Variant]) -> None:
        """Let the new variants serve. A variant that stays is the same object: Auto Scaling holds on to it."""
        kept = {}
        for name, new in wanted.items():
            variant = endpoint.variants.get(name, new)
            variant.instance_type, variant.weight = new.instance_type, new.weight
            variant.current_count = variant.desired_count = new.desired_count
            kept[name] = variant
        endpoint.variants = kept
        share_traffic(kept.values())

    def _deployment_done(self, endpoint: Endpoint) -> None:
        endpoint.other_fleet = 0
        endpoint.config_name, endpoint.pending_config = endpoint.pending_config or endpoint.config_name, None
        self._set_status(endpoint, IN_SERVICE)

    def _roll_back(self, endpoint: Endpoint) -> None:
        """Give up a deployment: back to the fleet that runs, or to a state that only another deployment ends."""
        endpoint.steps.clear()
        endpoint.failure = SHORTAGE
        self._set_status(endpoint, "RollingBack")

        def ended() -> None:
            endpoint.other_fleet, endpoint.pending_config = 0, None
            for variant in endpoint.variants.values():
                variant.current_count = variant.desired_count
            self._set_status(endpoint, "UpdateRollbackFailed" if endpoint.rollback_fails else IN_SERVICE)

        self._then(endpoint, endpoint.removal_delay, ended)

    def create_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Creating until its instances are there, then InService; Failed if AWS has none left."""
        name, config = params["EndpointName"], self._config(params["EndpointConfigName"])
        arn = self.world.arn("sagemaker", f"endpoint/{name}")
        if name in self.endpoints:
            raise self.invalid(f'Cannot create already existing endpoint "{arn}".')
        endpoint = Endpoint(
            name=name,
            arn=arn,
            asynchronous="AsyncInferenceConfig" in config,
            tags={tag["Key"]: tag["Value"] for tag in params.get("Tags", ())},
            provisioning_delay=timedelta(minutes=6),
            provisioning_from_zero=timedelta(minutes=6),
            removal_delay=timedelta(minutes=1),
            instance_quota=None,
            created=self.world.now,
            modified=self.world.now,
            config_name=config["EndpointConfigName"],
        )
        made = [
            self._deployed(endpoint, each, keep_count=False, keep_weight=False) for each in config["ProductionVariants"]
        ]
        traffic = self.unserved.pop(name, None)
        for number, variant in enumerate(made):
            variant.workload = _like(traffic) if number or traffic is None else traffic
            endpoint.variants[variant.name] = variant
        self.endpoints[name] = endpoint
        share_traffic(made)
        self._set_status(endpoint, "Creating")

        def arrive() -> None:
            if not endpoint.can_have(sum(variant.desired_count for variant in made)):
                endpoint.failure = SHORTAGE
                self._set_status(endpoint, "Failed")
                return
            for variant in made:
                variant.current_count = variant.desired_count
            self._set_status(endpoint, IN_SERVICE)

        self._then(endpoint, endpoint.provisioning_delay, arrive)
        return {"EndpointArn": arn}

    def delete_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Its scalable targets go at once (2.7), the endpoint itself a little later."""
        endpoint = self.find(params["EndpointName"])
        if endpoint.status in {"Creating", UPDATING, "RollingBack", "Deleting"}:
            raise self.invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        if any(each.host.endpoint is endpoint for each in self.components.by_name.values()):
            raise self.invalid(f'Endpoint "{endpoint.arn}" hosts inference components: delete them first.')
        for variant in endpoint.variants.values():
            if self.scaling is not None:
                self.scaling.forget(variant.resource_id)
        self._set_status(endpoint, "Deleting")

        def gone() -> None:
            del self.endpoints[endpoint.name]
            self.unserved[endpoint.name] = endpoint.workload

        self._then(endpoint, endpoint.removal_delay, gone)
        return {}

    # ---- events and descriptions -------------------------------------------------------------------------------------

    def _set_status(self, endpoint: Endpoint, status: str, messages: Mapping[str, str] | None = None) -> None:
        endpoint.status, endpoint.modified = status, self.world.now
        detail = {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.pending_config or endpoint.config_name,
            "ProductionVariants": [
                {"DesiredWeight": variant.weight, "DesiredInstanceCount": float(variant.desired_count)}
                for variant in endpoint.variants.values()
            ],
            "EndpointStatus": event_status(status),
            "CreationTime": epoch_milliseconds(endpoint.created),
            "LastModifiedTime": epoch_milliseconds(endpoint.modified),
            "Tags": dict(endpoint.tags),
        }
        self.world.emit("aws.sagemaker", "SageMaker Endpoint State Change", [endpoint.arn], detail)
        if status != UPDATING:
            return
        variants = [
            {
                "VariantName": variant.name,
                "CurrentWeight": variant.weight,
                "DesiredWeight": variant.weight,
                "CurrentInstanceCount": variant.current_count,
                "DesiredInstanceCount": variant.desired_count,
                "VariantStatus": [
                    {
                        "Status": UPDATING,
                        **({"StatusMessage": messages[variant.name]} if messages and variant.name in messages else {}),
                        "StartTime": epoch_milliseconds(endpoint.modified),
                    }
                ],
            }
            for variant in endpoint.variants.values()
        ]
        kind = "SageMaker Endpoint Deployment State Change"
        self.world.emit("aws.sagemaker", kind, [endpoint.arn], {**detail, "ProductionVariants": variants})

    def find(self, name: str) -> Endpoint:
        """The endpoint, or the error that SageMaker has for a missing one."""
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            raise self.invalid(f'Could not find endpoint "{self.world.arn("sagemaker", f"endpoint/{name}")}".')
        return endpoint

    def _config(self, name: str) -> Mapping[str, Any]:
        if name not in self.configs:
            arn = self.world.arn("sagemaker", f"endpoint-config/{name}")
            raise self.invalid(f'Could not find endpoint configuration "{arn}".')
        return self.configs[name]

    def describe_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Counts and status, no variants while Creating; AsyncInferenceConfig marks an asynchronous endpoint."""
        endpoint = self.find(params["EndpointName"])
        variants = []
        for variant in endpoint.variants.values():
            described: dict[str, Any] = {
                "VariantName": variant.name,
                "CurrentWeight": variant.weight,
                "DesiredWeight": variant.weight,
                **_counts(variant),
            }
            if variant.managed:
                described["ManagedInstanceScaling"] = variant.managed.described
            if endpoint.status == UPDATING:
                described["VariantStatus"] = [{"Status": UPDATING, "StartTime": endpoint.modified}]
            variants.append(described)
        pending = {"EndpointConfigName": endpoint.pending_config, "StartTime": endpoint.modified}
        return {
            **_summary(endpoint),
            "EndpointConfigName": endpoint.config_name,
            **({"ProductionVariants": variants} if endpoint.status != "Creating" else {}),
            **({"PendingDeploymentSummary": pending} if endpoint.pending_config else {}),
            **({"FailureReason": endpoint.failure} if endpoint.failure else {}),
            **({"AsyncInferenceConfig": _results_of(endpoint.name)} if endpoint.asynchronous else {}),
        }

    def describe_endpoint_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The only place that tells the instance type."""
        return dict(self._config(params["EndpointConfigName"]))

    def list_endpoints(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Newest first, ten to a page unless asked otherwise."""
        wanted = [
            endpoint
            for endpoint in sorted(self.endpoints.values(), key=lambda each: (each.created, each.name), reverse=True)
            if params.get("NameContains", "").lower() in endpoint.name.lower()
            and params.get("StatusEquals", endpoint.status) == endpoint.status
        ]
        endpoints, token = self.page(wanted, params, Page(100, 10))
        return {"Endpoints": [_summary(each) for each in endpoints], **({"NextToken": token} if token else {})}

    def update_endpoint_weights_and_capacities(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The direct way past Auto Scaling: weights of several variants, or the capacity of one."""
        endpoint = self.find(params["EndpointName"])
        wishes = params["DesiredWeightsAndCapacities"]
        for wish in wishes:
            if wish["VariantName"] not in endpoint.variants:
                raise self.invalid(f"Variant {wish['VariantName']} does not exist in endpoint {endpoint.name}")
        self._must_be_in_service(endpoint)
        counts = {
            each["VariantName"]: each["DesiredInstanceCount"] for each in wishes if "DesiredInstanceCount" in each
        }
        weights = {each["VariantName"]: each["DesiredWeight"] for each in wishes if "DesiredWeight" in each}
        if any(endpoint.variants[name].serverless for name in counts):
            raise self.invalid("A serverless variant has no instance count")
        if len(counts) > 1:
            raise self.invalid("The capacity of one variant may be changed at a time")
        for name, count in counts.items():
            self.order(endpoint.variants[name], count)
        if weights:
            self._reweight(endpoint, weights)
        return {"EndpointArn": endpoint.arn}

    def describe_inference_component(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Copies and status."""
        return self.components.describe(params)

    def list_inference_components(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Of one endpoint, or of all."""
        return self.components.listed(params, self)

    def update_inference_component_runtime_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The direct way past Auto Scaling."""
        return self.components.update_runtime(params)

    def _reweight(self, endpoint: Endpoint, weights: Mapping[str, float]) -> None:
        if endpoint.status == IN_SERVICE:  # else the order above goes first, and its end is the end of both
            self._set_status(endpoint, UPDATING)
            self._then(endpoint, endpoint.removal_delay, partial(self._set_status, endpoint, IN_SERVICE))
        for name, weight in weights.items():
            endpoint.variants[name].weight = weight
        share_traffic(endpoint.variants.values())


def share_traffic(variants: Iterable[Variant]) -> None:
    """Let each variant have its share of the endpoint's requests; a queue has one variant."""
    known = list(variants)
    total = sum(variant.weight for variant in known)
    for variant in known:
        if isinstance(variant.workload, RealtimeWorkload):
            variant.workload.share = variant.weight / total if total else 0.0


def _like(workload: Workload | None) -> Workload:
    """The same traffic from now on, for another variant; silence where nobody says what there is."""
    if isinstance(workload, RealtimeWorkload):
        return replace(workload, history=History())
    return RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1000.0)


def _batches(size: Mapping[str, Any], fleet: int) -> int:
    """How many batches of this size a fleet is."""
    value = int(size["Value"])
    return ceil(100 / value) if size["Type"] == "CAPACITY_PERCENT" else max(1, ceil(fleet / value))


def _production_variant(variant: Variant, count: int) -> dict[str, Any]:
    """As CreateEndpointConfig takes it."""
    common = {"VariantName": variant.name, "InitialVariantWeight": variant.weight}
    model = {"ModelName": f"{variant.endpoint.name}-model"}
    if variant.serverless:
        return {**common, **model, "ServerlessConfig": {**SERVERLESS, "ProvisionedConcurrency": count}}
    instances = {"InstanceType": variant.instance_type, "InitialInstanceCount": count}
    if variant.managed:  # its components bring the models
        return {**common, **instances, "ManagedInstanceScaling": variant.managed.described}
    return {**common, **model, **instances}


def _counts(variant: Variant) -> dict[str, Any]:
    """As DescribeEndpoint tells what a variant has and was asked for."""
    counts = {"Current": variant.current_count, "Desired": variant.desired_count}
    if variant.serverless:
        return {f"{k}ServerlessConfig": {**SERVERLESS, "ProvisionedConcurrency": n} for k, n in counts.items()}
    return {f"{k}InstanceCount": n for k, n in counts.items()}


def _results_of(name: str) -> dict[str, Any]:
    return {"OutputConfig": {"S3OutputPath": f"s3://{name}-results/"}}


def _summary(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }


@dataclass(slots=True)
class Tagging(Service):
    """Resource Groups Tagging API over the endpoints."""

    name = "resourcegroupstaggingapi"
    validation_code = "InvalidParameterException"
    paging_error = "PaginationTokenExpiredException"

    sagemaker: SageMaker

    def get_resources(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Tag filters are ANDed, the values of one ORed; a filter without values asks for the key."""
        types = params.get("ResourceTypeFilters") or ["sagemaker"]
        filters = params.get("TagFilters", [])

        def wanted(tags: Mapping[str, str]) -> bool:
            return bool(tags) and all(
                each["Key"] in tags and (not each.get("Values") or tags[each["Key"]] in each["Values"])
                for each in filters
            )

        fitting = {"sagemaker", "sagemaker:endpoint"} & set(types)
        found = [each for each in self.sagemaker.endpoints.values() if fitting and wanted(each.tags)]
        endpoints, token = self.page(found, params, Page(100, 50, "ResourcesPerPage", "PaginationToken"))
        listed = [
            {"ResourceARN": each.arn, "Tags": [{"Key": key, "Value": value} for key, value in each.tags.items()]}
            for each in endpoints
        ]
        return {"ResourceTagMappingList": listed, "PaginationToken": token or ""}

    def untag_resources(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Remove tags; what is not there needs no removing."""
        for endpoint in self.sagemaker.endpoints.values():
            if endpoint.arn in params["ResourceARNList"]:
                endpoint.tags = {key: value for key, value in endpoint.tags.items() if key not in params["TagKeys"]}
        return {"FailedResourcesMap": {}}
