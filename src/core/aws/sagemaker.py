"""SageMaker, and discovery by tag, as the port `Hosting`, which says what each method does."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from core.aws.errors import listed, or_none, reading, writing
from core.errors import ObservationError
from core.model import Capacity, Dimension, Missing, ScalableTarget, Serving
from core.ports import Variant

if TYPE_CHECKING:
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import (
        DescribeEndpointOutputTypeDef,
        ProductionVariantOutputTypeDef,
        ProductionVariantSummaryTypeDef,
    )

TURNS = 5
"""Each is described in so many minutes even if the list shows no change of it."""

SHORT_OF_A_TURN = timedelta(minutes=TURNS, seconds=-30)
"""Ticks come a few seconds early or late."""


LISTED_A_CALL = 100


class _Described(NamedTuple):
    """What had no change in flight, when it or its endpoint had last been modified, and when that was read."""

    capacity: Capacity
    modified: datetime
    at: datetime


_LISTS = {"Endpoint": "list_endpoints", "InferenceComponent": "list_inference_components"}
"""What is described one by one, and the operation that lists it; its fields begin with what it is."""


class SageMaker:
    """Endpoints, their variants and tags.

    Takes functions that return the same client each time, for most invocations need neither.
    """

    def __init__(
        self, client: "Callable[[], SageMakerClient]", tagging: "Callable[[], ResourceGroupsTaggingAPIClient]"
    ) -> None:
        self._client = client
        self._tagging = tagging
        self._modified: dict[tuple[str, str], datetime] = {}
        """By what its name is called, and its name."""

        self._known: dict[ScalableTarget, _Described] = {}

    def running(
        self, targets: Sequence[ScalableTarget], now: datetime
    ) -> Mapping[ScalableTarget, Capacity | Missing | ObservationError]:
        """Describe no more than need be, and each in 5 minutes.

        What was at rest, and is listed with the same status and time of modification, is not described again. (That
        every change moves one of them is inferred; AWS does not say so.)
        """
        found: dict[ScalableTarget, Capacity | Missing | ObservationError] = {**self._unchanged(targets, now)}
        for target in targets:
            if target not in found:
                before = self._known.pop(target, None)
                try:
                    found[target] = seen = self.capacity(target)
                except ObservationError as err:
                    found[target] = err
                    continue
                modified = self._modified.get(next(iter(target.names.items())))
                if isinstance(seen, Capacity) and seen.settled and modified:
                    at = now if before else now - timedelta(minutes=len(self._known) % TURNS)  # not all at once
                    self._known[target] = _Described(seen, modified, at)
        return found

    def _unchanged(self, targets: Sequence[ScalableTarget], now: datetime) -> Mapping[ScalableTarget, Capacity]:
        """Return what need not be described again."""
        known = {t: self._known[t] for t in targets if t in self._known and now - self._known[t].at < SHORT_OF_A_TURN}
        found: dict[ScalableTarget, Capacity] = {}
        for what in _LISTS:
            named = {target: target.names.get(f"{what}Name", "") for target in known}
            shown = self._listed(what, {*named.values()} - {""})
            found |= {
                target: seen.capacity
                for target, seen in known.items()
                if shown.get(named[target]) == (seen.capacity.status, seen.modified)
            }
        return found

    def _listed(self, what: str, wanted: AbstractSet[str]) -> Mapping[str, tuple[str, datetime]]:
        """Return status and time of modification by name. Lists no more pages than half of the calls it may save."""
        found: dict[str, tuple[str, datetime]] = {}
        client: Any = self._client()
        with suppress(ObservationError), reading(_LISTS[what]):  # then each is described
            pages = client.get_paginator(_LISTS[what]).paginate(PaginationConfig={"PageSize": LISTED_A_CALL})
            for page in islice(pages, len(wanted) // 2):
                found |= {e[f"{what}Name"]: (e[f"{what}Status"], e["LastModifiedTime"]) for e in page[f"{what}s"]}
                if found.keys() >= wanted:
                    break
        return found

    def capacity(self, target: ScalableTarget) -> Capacity | Missing:
        if target.dimension is Dimension.COPIES:
            return self._copies(target.names["InferenceComponentName"])
        name, variant_name = target.names.values()
        endpoint = self._endpoint(name)
        if endpoint is None:
            return Missing(f"endpoint {name} does not exist")
        variant = next((v for v in endpoint.get("ProductionVariants", ()) if v["VariantName"] == variant_name), None)
        current, desired = _counts(variant, target.dimension) if variant else (None, None)
        if current is None:
            counted = "instances" if target.dimension is Dimension.INSTANCES else "provisioned concurrency"
            return Missing(f"variant {variant_name} of {name} does not exist or counts no {counted}")
        created_at, config = endpoint["CreationTime"].astimezone(UTC), endpoint["EndpointConfigName"]
        ordered = current if desired is None else desired
        return Capacity(current, ordered, endpoint["EndpointStatus"], created_at, config)

    def variants(self, endpoint: str) -> tuple[Variant, ...]:
        """Resource IDs have the name as SageMaker spells it; ARNs, so what `tagged` finds, have it in lower case."""
        found = self._endpoint(endpoint)
        if found is None:
            return ()
        config, queued = self._config(found["EndpointConfigName"]), "AsyncInferenceConfig" in found
        variants = {}
        for seen in found.get("ProductionVariants", ()):
            name = seen["VariantName"]
            serving = Serving.SERVERLESS if "CurrentServerlessConfig" in seen else Serving.REALTIME
            serving = Serving.ASYNC if queued else serving
            managed = seen.get("ManagedInstanceScaling", {})
            variants[name] = Variant(
                target=ScalableTarget.variant(found["EndpointName"], name, serving.dimension),
                instance_type=config[name].get("InstanceType") if name in config else None,
                serving=serving,
                managed_minimum=managed.get("MinInstanceCount", 1) if managed.get("Status") == "ENABLED" else None,
            )
        if queued or all(name in config and "ModelName" in config[name] for name in variants):
            return tuple(variants.values())  # inference components bring the models of variants without one
        return (*variants.values(), *self._components(found["EndpointName"], variants))

    def tagged(self) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, Mapping[str, str]] = {}
        asked, what = {"ResourceTypeFilters": ["sagemaker:endpoint"]}, "GetResources of endpoints"
        for resource in listed(self._tagging(), "get_resources", "ResourceTagMappingList", what, **asked):
            name = resource["ResourceARN"].rsplit("/", 1)[1]
            tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"] if not tag["Key"].startswith("aws:")}
            found[name.lower()] = tags
        return found

    def set_count(self, target: ScalableTarget, count: int) -> None:
        if target.dimension is Dimension.COPIES:
            with writing(f"UpdateInferenceComponentRuntimeConfig {target.resource_id} to {count}"):
                self._client().update_inference_component_runtime_config(
                    InferenceComponentName=target.names["InferenceComponentName"],
                    DesiredRuntimeConfig={"CopyCount": count},
                )
            return
        if target.dimension is not Dimension.INSTANCES:
            raise ValueError(f"{target.dimension} is only moved by its bounds and native policies")
        name, variant = target.names.values()
        with writing(f"UpdateEndpointWeightsAndCapacities {target.resource_id} to {count}"):
            self._client().update_endpoint_weights_and_capacities(
                EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": count}]
            )

    def _endpoint(self, name: str) -> "DescribeEndpointOutputTypeDef | None":
        found = or_none(f"DescribeEndpoint {name}", lambda: self._client().describe_endpoint(EndpointName=name))
        if found:
            self._modified["EndpointName", name] = found["LastModifiedTime"]
        return found

    def _config(self, config: str) -> "Mapping[str, ProductionVariantOutputTypeDef]":
        """Return each variant's configuration, which may be deleted while its endpoint runs on."""
        found = or_none(
            f"DescribeEndpointConfig {config}",
            lambda: self._client().describe_endpoint_config(EndpointConfigName=config),
        )
        return {variant["VariantName"]: variant for variant in found["ProductionVariants"]} if found else {}

    def _components(self, endpoint: str, variants: Mapping[str, Variant]) -> list[Variant]:
        """Return the inference components of an endpoint that have copies."""
        asked, what = {"EndpointNameEquals": endpoint}, f"ListInferenceComponents of {endpoint}"
        return [
            replace(
                variants[seen["VariantName"]],
                target=ScalableTarget.component(seen["InferenceComponentName"]),
                serving=Serving.INFERENCE_COMPONENT,
            )
            for seen in listed(self._client(), "list_inference_components", "InferenceComponents", what, **asked)
            if seen["VariantName"] in variants and not self._adapts(seen["InferenceComponentName"])
        ]

    def _adapts(self, name: str) -> bool:
        """Say whether a component is an adapter: each copy of its base loads it, and it has none itself."""
        return "BaseInferenceComponentName" in (self._component(name) or {}).get("Specification", {})

    def _component(self, name: str) -> Mapping[str, Any] | None:
        what, client = f"DescribeInferenceComponent {name}", self._client()
        return or_none(what, lambda: client.describe_inference_component(InferenceComponentName=name))

    def _copies(self, name: str) -> Capacity | Missing:
        found = self._component(name)
        if found is None:
            return Missing(f"inference component {name} does not exist")
        self._modified["InferenceComponentName", name] = found["LastModifiedTime"]
        counts, status = found.get("RuntimeConfig", {}), found.get("InferenceComponentStatus", "Creating")
        desired = counts.get("DesiredCopyCount", 0)
        return Capacity(counts.get("CurrentCopyCount", desired), desired, status, found["CreationTime"].astimezone(UTC))


def _counts(variant: "ProductionVariantSummaryTypeDef", dimension: Dimension) -> tuple[int | None, int | None]:
    """Return what a variant has and what it was asked for, None where it does not count this."""
    if dimension is Dimension.INSTANCES:
        return variant.get("CurrentInstanceCount"), variant.get("DesiredInstanceCount")
    current, desired = variant.get("CurrentServerlessConfig"), variant.get("DesiredServerlessConfig", {})
    return current.get("ProvisionedConcurrency", 0) if current else None, desired.get("ProvisionedConcurrency")
