"""Inference components: copies of a model on the instances of a variant, and instances that come and go for them.

With managed instance scaling the instances follow the copies (facts 4): more are started where the copies need them,
and idle ones are released after a while. Copies start once there is room. Left out: the scale-in strategy
CONSOLIDATION, and which copy runs on which instance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

from simulator.service import Page, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from simulator.events import World
    from simulator.sagemaker import Variant
    from simulator.workload import Workload

NO_ROOM = "Not enough capacity on the instances of the variant for the copies asked for"


@dataclass(slots=True, kw_only=True)
class Managed:
    """Managed instance scaling of a variant, and how far it is."""

    minimum: int
    maximum: int
    release_delay: timedelta = timedelta(minutes=10)
    """From when an instance is idle until it is released (facts 7)."""

    arrival: datetime | None = None
    idle_since: datetime | None = None

    @property
    def described(self) -> dict[str, Any]:
        """As DescribeEndpoint and CreateEndpointConfig have it."""
        return {"Status": "ENABLED", "MinInstanceCount": self.minimum, "MaxInstanceCount": self.maximum}


@dataclass(slots=True, kw_only=True)
class Component:
    """One inference component; its counts are copies. `failure` says why its last change came to nothing."""

    name: str
    arn: str
    host: Variant
    workload: Workload
    copies_per_instance: int
    copy_delay: timedelta
    created: datetime
    current_count: int
    desired_count: int
    change: tuple[datetime, int] | None = None
    """When the change under way is done, and how many copies there are before it, should it fail."""

    failure: str = ""
    modified: datetime | None = None
    """When a change began or ended last."""

    base: str = ""
    """Of an adapter: the component whose copies load it. It has none itself."""

    dimension = "sagemaker:inference-component:DesiredCopyCount"
    counted = "copy count"
    lowest_count = 0

    @property
    def resource_id(self) -> str:
        """As Application Auto Scaling names it."""
        return f"inference-component/{self.name}"

    @property
    def names(self) -> dict[str, str]:
        """The dimensions of its metrics."""
        return {"InferenceComponentName": self.name}

    @property
    def status(self) -> str:
        """Updating while a change is under way."""
        return "Updating" if self.change else "InService"


@dataclass(slots=True)
class InferenceComponents:
    """Those of one account."""

    world: World
    by_name: dict[str, Component] = field(default_factory=dict)

    def order(self, component: Component, count: int) -> None:
        """Change the copies, or raise what SageMaker would. The same count again changes nothing."""
        if component.change:
            raise _invalid(f'Cannot update in-progress inference component "{component.arn}".')
        if count == component.desired_count:
            return
        before, component.desired_count, component.failure = component.desired_count, count, ""
        host, now = component.host, self.world.now
        component.modified = now
        if count < component.current_count:
            component.change = (now + host.endpoint.removal_delay, before)
            return
        self._order_instances(host)
        room_at = host.managed.arrival if host.managed and host.managed.arrival else now
        component.change = (room_at + component.copy_delay, before)

    def _order_instances(self, host: Variant) -> None:
        managed = host.managed
        most = min(self.instances_needed(host), managed.maximum) if managed else 0
        if managed is None or most <= host.desired_count:
            return
        endpoint = host.endpoint
        start = endpoint.provisioning_delay if host.current_count else endpoint.provisioning_from_zero
        host.desired_count = most
        managed.arrival, managed.idle_since = self.world.now + start, None

    def instances_needed(self, host: Variant) -> int:
        """Instances for the copies that all components of a variant have been asked for."""
        shares = (each.desired_count / each.copies_per_instance for each in self.by_name.values() if each.host is host)
        return ceil(round(sum(shares), 9))

    def finish_changes(self) -> None:
        """Let instances and copies arrive, or leave, that are due now."""
        hosts = {id(each.host): (each.host, each.host.managed) for each in self.by_name.values()}
        scaled = [(host, managed) for host, managed in hosts.values() if managed]
        for host, managed in scaled:
            self._arrive(host, managed)
        for component in self.by_name.values():
            if component.change and component.change[0] <= self.world.now:
                if self.instances_needed(component.host) > component.host.current_count:
                    component.desired_count, component.failure = component.change[1], NO_ROOM
                component.current_count, component.change = component.desired_count, None
                component.modified = self.world.now
        for host, managed in scaled:
            self._release(host, managed)

    def _arrive(self, host: Variant, managed: Managed) -> None:
        if managed.arrival and managed.arrival <= self.world.now:
            if host.endpoint.can_have(host.desired_count - host.current_count):
                host.current_count = host.desired_count
            host.desired_count, managed.arrival = host.current_count, None

    def _release(self, host: Variant, managed: Managed) -> None:
        now = self.world.now
        idle = max(managed.minimum, self._occupied(host)) < host.current_count and not managed.arrival
        managed.idle_since = (managed.idle_since or now) if idle else None
        if managed.idle_since and now - managed.idle_since >= managed.release_delay:
            host.current_count = host.desired_count = max(managed.minimum, self._occupied(host))
            managed.idle_since = None

    def _occupied(self, host: Variant) -> int:
        """Instances that copies run on, or soon will."""
        each = (c for c in self.by_name.values() if c.host is host)
        return ceil(round(sum(max(c.current_count, c.desired_count) / c.copies_per_instance for c in each), 9))

    def find(self, name: str) -> Component:
        """The component, or the error that SageMaker has for a missing one."""
        if name not in self.by_name:
            arn = self.world.arn("sagemaker", f"inference-component/{name}")
            raise _invalid(f'Could not find inference component "{arn}".')
        return self.by_name[name]

    def update_runtime(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateInferenceComponentRuntimeConfig."""
        component = self.find(params["InferenceComponentName"])
        self.order(component, params["DesiredRuntimeConfig"]["CopyCount"])
        return {"InferenceComponentArn": component.arn}

    def describe(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeInferenceComponent."""
        component = self.find(params["InferenceComponentName"])
        reason = {"FailureReason": component.failure} if component.failure else {}
        if component.base:
            return {**_summary(component), "Specification": {"BaseInferenceComponentName": component.base}, **reason}
        counts = {"DesiredCopyCount": component.desired_count, "CurrentCopyCount": component.current_count}
        return {**_summary(component), "RuntimeConfig": counts, **reason}

    def listed(self, params: Mapping[str, Any], service: Service) -> dict[str, Any]:
        """ListInferenceComponents: newest first, ten to a page unless asked otherwise."""
        wanted = [
            component
            for component in sorted(self.by_name.values(), key=lambda each: (each.created, each.name), reverse=True)
            if params.get("EndpointNameEquals", component.host.endpoint.name) == component.host.endpoint.name
            and params.get("VariantNameEquals", component.host.name) == component.host.name
        ]
        found, token = service.page(wanted, params, Page(100, 10))
        return {"InferenceComponents": [_summary(each) for each in found], **({"NextToken": token} if token else {})}


def _summary(component: Component) -> dict[str, Any]:
    endpoint = component.host.endpoint
    return {
        "InferenceComponentName": component.name,
        "InferenceComponentArn": component.arn,
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "VariantName": component.host.name,
        "InferenceComponentStatus": component.status,
        "CreationTime": component.created,
        "LastModifiedTime": component.modified or component.created,
    }


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
