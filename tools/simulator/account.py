"""One simulated AWS account: the services, the endpoints' traffic, and a clock that moves a minute at a time."""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, overload

from botocore import xform_name

from simulator.aas import ApplicationAutoScaling
from simulator.cloudwatch import CloudWatch
from simulator.components import Component
from simulator.events import Event, World
from simulator.metrics import epoch_minute
from simulator.sagemaker import Endpoint, SageMaker, Tagging, Variant
from simulator.scheduler import Scheduler
from simulator.service import Service, ServiceError, copied
from simulator.transport import make_client
from simulator.workload import SqsWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_application_autoscaling.client import ApplicationAutoScalingClient
    from mypy_boto3_cloudwatch.client import CloudWatchClient
    from mypy_boto3_resourcegroupstaggingapi.client import ResourceGroupsTaggingAPIClient
    from mypy_boto3_sagemaker.client import SageMakerClient

    from simulator.components import Managed
    from simulator.metrics import Measured, MetricKey
    from simulator.workload import Workload

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Call:
    """One API call, refused ones included; `caller` is what `SimulatedAccount.caller` said at that moment."""

    service: str
    operation: str
    params: dict[str, Any]
    now: datetime
    caller: str


class SimulatedAccount:
    """AWS as far as Tidegate can see it, in simulated time.

    Args:
        now: where the clock starts; aware, and on a whole minute.
        region: of all services.
        account_id: twelve digits.
        record_calls: whether `calls` is kept; turn it off for replays of weeks, where it would fill the memory.
    """

    def __init__(
        self,
        now: datetime,
        region: str = "eu-central-1",
        account_id: str = "123456789012",
        *,
        record_calls: bool = True,
    ) -> None:
        if now.tzinfo is None or now.second or now.microsecond:
            raise ValueError(f"now = {now}, must be an aware datetime on a whole minute")
        self._world = World(now, region, account_id)
        self.sagemaker = SageMaker(self._world)
        self.cloudwatch = CloudWatch(self._world)
        self.autoscaling = ApplicationAutoScaling(self._world, self.sagemaker, self.cloudwatch)
        self.scheduler = Scheduler(self._world, {self.autoscaling.name: self.autoscaling})
        services = (self.autoscaling, self.sagemaker, self.cloudwatch, Tagging(self.sagemaker), self.scheduler)
        self._services: dict[str, Service] = {service.name: service for service in services}
        self._clients: dict[str, Any] = {}
        self._failures: dict[tuple[str, str], deque[ServiceError]] = {}
        self.calls: list[Call] = []
        self._record_calls = record_calls
        self.caller = ""

    @property
    def now(self) -> datetime:
        """The start of the minute that `advance` will play."""
        return self._world.now

    @overload
    def client(self, service: Literal["application-autoscaling"]) -> ApplicationAutoScalingClient: ...
    @overload
    def client(self, service: Literal["sagemaker"]) -> SageMakerClient: ...
    @overload
    def client(self, service: Literal["cloudwatch"]) -> CloudWatchClient: ...
    @overload
    def client(self, service: Literal["resourcegroupstaggingapi"]) -> ResourceGroupsTaggingAPIClient: ...
    @overload
    def client(self, service: Literal["scheduler"]) -> Any: ...  # noqa: ANN401 - no stubs installed
    def client(self, service: str) -> Any:
        """A real boto3 client that this account answers; one per service."""
        if service not in self._clients:

            def handler(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
                return self.call(service, operation, params)

            self._clients[service] = make_client(service, self._world.region, handler)
        return self._clients[service]

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one API call, whatever transport it came by. Raises ServiceError."""
        if self._record_calls:
            self.calls.append(Call(service, operation, copied(dict(params)), self.now, self.caller))
        self._strike(service, operation)
        answer: dict[str, Any] = copied(self._services[service].call(operation, params))
        return answer

    def read(self, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a call as `call` does, but unvalidated, unrecorded and uncopied. Raises ServiceError."""
        self._strike(service, operation)
        answer: dict[str, Any] = getattr(self._services[service], xform_name(operation))(params)
        return answer

    def _strike(self, service: str, operation: str) -> None:
        scripted = self._failures.get((service, operation))
        if scripted:
            raise scripted.popleft()

    @property
    def scripted(self) -> bool:
        """Whether any call is scripted to fail."""
        return any(self._failures.values())

    def fail_next(self, service: str, operation: str, code: str, message: str) -> None:
        """Let the next call of `operation` (as in "RegisterScalableTarget") fail; repeat to script several."""
        self._failures.setdefault((service, operation), deque()).append(ServiceError(code, message))

    def add_endpoint(  # noqa: PLR0913 - an endpoint has that many independent properties, all but three with a default
        self,
        *,
        name: str,
        workload: Workload,
        instance_count: int,
        variant: str = "AllTraffic",
        instance_type: str = "ml.g5.xlarge",
        asynchronous: bool = False,
        tags: Mapping[str, str] | None = None,
        provisioning_delay: timedelta = timedelta(minutes=6),
        provisioning_from_zero: timedelta | None = None,
        removal_delay: timedelta = timedelta(minutes=1),
        instance_quota: int | None = None,
        serverless: bool = False,
        managed: Managed | None = None,
    ) -> Endpoint:
        """Put an endpoint that is InService into the account.

        Args:
            name: endpoint name.
            workload: its traffic.
            instance_count: instances to start with.
            variant: name of its only variant.
            instance_type: as in "ml.g5.xlarge".
            asynchronous: whether it has an AsyncInferenceConfig, and may have zero instances.
            tags: of the endpoint.
            provisioning_delay: from an order until the instances serve.
            provisioning_from_zero: the same where no instance runs, if it differs.
            removal_delay: from an order until the instances are gone.
            instance_quota: most instances the account may have of this type; None for no limit.
            serverless: whether its counts are provisioned concurrency.
            managed: managed instance scaling, for `add_component`.
        """
        endpoint = Endpoint(
            name=name,
            arn=self._world.arn("sagemaker", f"endpoint/{name}"),
            config_name=f"{name}-config-1",
            asynchronous=asynchronous,
            tags=dict(tags or {}),
            provisioning_delay=provisioning_delay,
            provisioning_from_zero=provisioning_delay if provisioning_from_zero is None else provisioning_from_zero,
            removal_delay=removal_delay,
            instance_quota=instance_quota,
            created=self.now,
            modified=self.now,
        )
        first = Variant(
            endpoint=endpoint,
            name=variant,
            instance_type=instance_type,
            current_count=instance_count,
            desired_count=instance_count,
            workload=workload,
            serverless=serverless,
            managed=managed,
        )
        self.sagemaker.add(endpoint, first)
        return endpoint

    def add_component(  # noqa: PLR0913 - as an endpoint
        self,
        *,
        name: str,
        endpoint: str,
        workload: Workload,
        copies: int,
        copies_per_instance: int = 1,
        copy_delay: timedelta = timedelta(minutes=2),
        base: str = "",
    ) -> Component:
        """Put an inference component that is InService on an endpoint.

        Args:
            name: of the component.
            endpoint: its endpoint; with managed instance scaling the instances follow the copies.
            workload: its traffic, usually a ComponentWorkload.
            copies: to start with; the endpoint must have the instances for them.
            copies_per_instance: so many fit.
            copy_delay: from when there is room until a copy serves.
            base: the component that loads it, if it is an adapter; it has no copies then.
        """
        component = Component(
            name=name,
            arn=self._world.arn("sagemaker", f"inference-component/{name}"),
            host=self.endpoint(endpoint).first,
            workload=workload,
            copies_per_instance=copies_per_instance,
            copy_delay=copy_delay,
            created=self.now,
            current_count=copies,
            desired_count=copies,
            base=base,
        )
        self.sagemaker.components.by_name[name] = component
        return component

    def endpoint(self, name: str) -> Endpoint:
        """The state of one endpoint; raises KeyError."""
        return self.sagemaker.endpoints[name]

    def deploy(self, endpoint_name: str, instance_count: int, update: Mapping[str, Any] | None = None) -> None:
        """Somebody deploys a new configuration with another instance count, as boto3 would. Raises ServiceError.

        Args:
            endpoint_name: the endpoint.
            instance_count: InitialInstanceCount of every variant.
            update: further parameters of UpdateEndpoint; without any, blue/green, all at once.
        """
        configs = self.sagemaker.configs
        config = configs[self.endpoint(endpoint_name).config_name]
        name = f"{endpoint_name}-config-{1 + sum(key.startswith(f'{endpoint_name}-config-') for key in configs)}"
        variants = [{**each, "InitialInstanceCount": instance_count} for each in config["ProductionVariants"]]
        queue = {key: config[key] for key in ("AsyncInferenceConfig",) if key in config}
        described = {"EndpointConfigName": name, "ProductionVariants": variants, **queue}
        self.call("sagemaker", "CreateEndpointConfig", described)
        request = {"EndpointName": endpoint_name, "EndpointConfigName": name, **(update or {})}
        self.call("sagemaker", "UpdateEndpoint", request)

    def silence(self, namespace: str, metric: str, endpoint: str) -> None:
        """From now on this metric of the endpoint (or queue) is not published, whatever its dimensions."""
        self.cloudwatch.silenced.add((namespace, metric, endpoint))

    def unsilence(self, namespace: str, metric: str, endpoint: str) -> None:
        """Publish it again; what was not published stays missing."""
        self.cloudwatch.silenced.discard((namespace, metric, endpoint))

    def advance(self) -> list[Event]:
        """Play one minute and return the events it sent, those of API calls since the last minute first.

        Capacity that is due arrives and counts for the minute, traffic is served, metrics are published, the clock
        moves; then schedules and scheduled actions run, alarms are evaluated and Auto Scaling acts on them.
        """
        self.sagemaker.finish_changes()
        minute = epoch_minute(self.now)
        for endpoint in self.sagemaker.endpoints.values():
            for variant in endpoint.variants.values():
                self._serve(variant, variant.workload, minute)
            endpoint.instance_minutes += endpoint.billed
        for component in self.sagemaker.components.by_name.values():
            self._serve(component, component.workload, minute)
        for workload in self.sagemaker.unserved.values():
            workload.serve(0, 0, _into_the_void)
        self._world.now += MINUTE
        self.scheduler.run()
        self.autoscaling.run_scheduled_actions()
        self.cloudwatch.evaluate_alarms()
        self.autoscaling.act()
        events, self._world.events = self._world.events, []
        return events

    def backfill(self, endpoint_name: str, workload: Workload, minutes: int) -> None:
        """Write the metrics of the past `minutes` as if `workload` had met the present instances; no time passes."""
        variant, end = self.endpoint(endpoint_name).first, epoch_minute(self.now)
        for minute in range(end - minutes, end):
            self._serve(variant, workload, minute)

    def _serve(self, resource: Variant | Component, workload: Workload, minute: int) -> None:
        reached = resource.status not in {"Creating", "Failed", "Deleting"}
        names = (
            {**resource.names, "QueueName": workload.queue_name}
            if isinstance(workload, SqsWorkload)
            else resource.names
        )
        publish = self._publisher(names, minute) if reached else _into_the_void
        workload.serve(resource.current_count, resource.desired_count, publish)

    def _publisher(
        self, names: Mapping[str, str], minute: int
    ) -> Callable[[str, str, tuple[str, ...], Measured], None]:
        cloudwatch, known = self.cloudwatch, tuple(names.items())

        def publish(namespace: str, metric: str, dimensions: tuple[str, ...], datum: Measured) -> None:
            cloudwatch.publish(_published_key(namespace, metric, dimensions, known), minute, datum)

        return publish

    def snapshot(self, name: str) -> dict[str, Any]:
        """What Auto Scaling holds for an endpoint or inference component, free of times and ARNs, to compare with ==.

        Empty if it is not registered; else `bounds`, `suspended`, and by name `policies` and `scheduled_actions`.
        """
        resource = self.sagemaker.components.by_name.get(name) or self.endpoint(name)
        target = self.autoscaling.targets.get(resource.resource_id)
        if target is None:
            return {}
        identity = {*target.identity, "PolicyName", "ScheduledActionName"}

        def bare(request: Mapping[str, Any]) -> dict[str, Any]:
            return {key: copied(value) for key, value in request.items() if key not in identity}

        return {
            "bounds": (target.minimum, target.maximum),
            "suspended": dict(target.suspended),
            "policies": {name: bare(policy.request) for name, policy in sorted(target.policies.items())},
            "scheduled_actions": {name: bare(action.request) for name, action in sorted(target.actions.items())},
        }


def _into_the_void(_namespace: str, _metric: str, _dimensions: tuple[str, ...], _datum: Measured) -> None:
    """Requests to an endpoint that is not there leave no metric of it."""


@functools.lru_cache(maxsize=4096)
def _published_key(
    namespace: str, metric: str, dimensions: tuple[str, ...], known: tuple[tuple[str, str], ...]
) -> MetricKey:
    return (namespace, metric, tuple((name, value) for name, value in known if name in dimensions))
