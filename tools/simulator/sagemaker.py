"""Amazon SageMaker endpoints with one variant each, and finding them by tag.

Capacity takes time: an order sets the desired count and the status Updating; the current count follows when the change
is due. One change at a time (facts 0.9). Left out: inference components, serverless variants, weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.events import epoch_milliseconds
from simulator.service import Page, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from simulator.events import World
    from simulator.workload import Workload

IN_SERVICE, UPDATING = "InService", "Updating"
EVENT_STATUS = {IN_SERVICE: "IN_SERVICE", UPDATING: "UPDATING"}


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One endpoint. `instance_minutes` counts what is billed: from the order of an instance until it is gone."""

    name: str
    arn: str
    variant: str
    instance_type: str
    current_count: int
    desired_count: int
    workload: Workload
    asynchronous: bool
    tags: dict[str, str]
    provisioning_delay: timedelta
    provisioning_from_zero: timedelta
    removal_delay: timedelta
    instance_quota: int | None
    created: datetime
    modified: datetime
    generation: int = 1
    status: str = IN_SERVICE
    due: datetime | None = None
    instance_minutes: int = 0

    @property
    def config_name(self) -> str:
        """A deployment brings a new one."""
        return f"{self.name}-config-{self.generation}"

    @property
    def resource_id(self) -> str:
        """As Application Auto Scaling names it."""
        return f"endpoint/{self.name}/variant/{self.variant}"

    @property
    def lowest_count(self) -> int:
        """Zero is for asynchronous endpoints only (facts 5.3)."""
        return 0 if self.asynchronous else 1


@dataclass(slots=True)
class SageMaker(Service):
    """The endpoints of one account."""

    name = "sagemaker"

    world: World
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def add(self, endpoint: Endpoint) -> None:
        """Names are unique."""
        if endpoint.name in self.endpoints:
            raise ValueError(f"endpoint {endpoint.name!r} exists already")
        self.endpoints[endpoint.name] = endpoint

    def order(self, endpoint: Endpoint, count: int) -> None:
        """Change the instance count, or raise what SageMaker would. The same count again changes nothing."""
        if endpoint.status != IN_SERVICE:
            raise self.invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        if count < endpoint.lowest_count:
            raise self.invalid(f"Instance count of {endpoint.resource_id} must be at least {endpoint.lowest_count}")
        if endpoint.instance_quota is not None and count > max(endpoint.instance_quota, endpoint.desired_count):
            raise ServiceError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{endpoint.instance_type} for endpoint usage' is "
                f"{endpoint.instance_quota} Instances, with current utilization of {endpoint.current_count} Instances "
                f"and a request delta of {count - endpoint.current_count} Instances. Please use AWS Service Quotas to "
                "request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to "
                "request an increase for this quota.",
            )
        if count != endpoint.desired_count:
            start = endpoint.provisioning_delay if endpoint.current_count else endpoint.provisioning_from_zero
            self._begin(endpoint, count, start if count > endpoint.current_count else endpoint.removal_delay)

    def deploy(self, endpoint: Endpoint, count: int) -> None:
        """UpdateEndpoint without RetainAllVariantProperties: the new config's count replaces the scaled one."""
        if endpoint.status != IN_SERVICE:
            raise self.invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        endpoint.generation += 1
        self._begin(endpoint, count, endpoint.provisioning_delay)

    def _begin(self, endpoint: Endpoint, count: int, delay: timedelta) -> None:
        endpoint.desired_count = count
        endpoint.due = self.world.now + delay
        self._set_status(endpoint, UPDATING)
        self._finish_if_due(endpoint)

    def finish_changes(self) -> None:
        """Let capacity arrive, or leave, that is due now."""
        for endpoint in self.endpoints.values():
            self._finish_if_due(endpoint)

    def _finish_if_due(self, endpoint: Endpoint) -> None:
        if endpoint.due is not None and endpoint.due <= self.world.now:
            endpoint.current_count, endpoint.due = endpoint.desired_count, None
            self._set_status(endpoint, IN_SERVICE)

    def _set_status(self, endpoint: Endpoint, status: str) -> None:
        endpoint.status, endpoint.modified = status, self.world.now
        detail = {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config_name,
            "ProductionVariants": [{"DesiredWeight": 1.0, "DesiredInstanceCount": float(endpoint.desired_count)}],
            "EndpointStatus": EVENT_STATUS[status],
            "CreationTime": epoch_milliseconds(endpoint.created),
            "LastModifiedTime": epoch_milliseconds(endpoint.modified),
            "Tags": dict(endpoint.tags),
        }
        self.world.emit("aws.sagemaker", "SageMaker Endpoint State Change", [endpoint.arn], detail)

    def find(self, name: str) -> Endpoint:
        """The endpoint, or the error that SageMaker has for a missing one."""
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            raise self.invalid(f'Could not find endpoint "{self.world.arn("sagemaker", f"endpoint/{name}")}".')
        return endpoint

    def describe_endpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Counts and status; AsyncInferenceConfig marks an asynchronous endpoint."""
        endpoint = self.find(params["EndpointName"])
        variant: dict[str, Any] = {
            "VariantName": endpoint.variant,
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "CurrentInstanceCount": endpoint.current_count,
            "DesiredInstanceCount": endpoint.desired_count,
        }
        if endpoint.status == UPDATING:
            variant["VariantStatus"] = [{"Status": "Updating", "StartTime": endpoint.modified}]
        queue = {"OutputConfig": {"S3OutputPath": f"s3://{endpoint.name}-results/"}}
        return {
            **_summary(endpoint),
            "EndpointConfigName": endpoint.config_name,
            "ProductionVariants": [variant],
            **({"AsyncInferenceConfig": queue} if endpoint.asynchronous else {}),
        }

    def describe_endpoint_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The only place that tells the instance type."""
        name = params["EndpointConfigName"]
        endpoint = next((each for each in self.endpoints.values() if each.config_name == name), None)
        arn = self.world.arn("sagemaker", f"endpoint-config/{name}")
        if endpoint is None:
            raise self.invalid(f'Could not find endpoint configuration "{arn}".')
        variant = {"VariantName": endpoint.variant, "ModelName": f"{endpoint.name}-model"}
        capacity = {"InstanceType": endpoint.instance_type, "InitialInstanceCount": max(1, endpoint.desired_count)}
        created = {"EndpointConfigName": name, "EndpointConfigArn": arn, "CreationTime": endpoint.created}
        return {**created, "ProductionVariants": [{**variant, **capacity}]}

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
        """The direct way past Auto Scaling; weights are ignored."""
        endpoint = self.find(params["EndpointName"])
        for wish in params["DesiredWeightsAndCapacities"]:
            if wish["VariantName"] != endpoint.variant:
                raise self.invalid(f"Variant {wish['VariantName']} does not exist in endpoint {endpoint.name}")
            self.order(endpoint, wish.get("DesiredInstanceCount", endpoint.desired_count))
        return {"EndpointArn": endpoint.arn}


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
