"""SageMaker, and discovery by tag, as the port `Serving`."""

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from core.aws.errors import is_absent, reading, writing
from core.model import Capacity, Missing, ScalableTarget
from core.ports import Variant

if TYPE_CHECKING:
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

PROFILE_TAG = "tidegate:profile"


class SageMaker:
    """Endpoints, their variants and tags. Takes functions, for most invocations need neither client.

    Args:
        client: returns boto3's `sagemaker`, the same one each time.
        tagging: returns boto3's `resourcegroupstaggingapi`, the same one each time.
    """

    def __init__(
        self,
        client: "Callable[[], SageMakerClient]",
        tagging: "Callable[[], ResourceGroupsTaggingAPIClient]",
    ) -> None:
        self._client = client
        self._tagging = tagging

    def capacity(self, target: ScalableTarget) -> Capacity | Missing:
        """Return the counts and status of the variant, Missing if endpoint or variant is gone."""
        endpoint = self._endpoint(target.endpoint_name)
        if endpoint is None:
            return Missing(f"endpoint {target.endpoint_name} does not exist")
        for variant in endpoint.get("ProductionVariants", ()):
            if variant["VariantName"] == target.variant_name and "CurrentInstanceCount" in variant:
                current = variant["CurrentInstanceCount"]
                return Capacity(
                    current,
                    variant.get("DesiredInstanceCount", current),
                    endpoint["EndpointStatus"],
                    endpoint["CreationTime"].astimezone(UTC),
                    endpoint["EndpointConfigName"],
                )
        return Missing(f"variant {target.variant_name} of {target.endpoint_name} does not exist or counts no instances")

    def variants(self, endpoint: str) -> tuple[Variant, ...]:
        """Return the endpoint's variants, none if it does not exist.

        The resource IDs use the name as SageMaker spells it, for ARNs (so what `tagged` finds) have it in lower case.
        """
        found = self._endpoint(endpoint)
        if found is None:
            return ()
        types = self._instance_types(found["EndpointConfigName"])
        return tuple(
            Variant(
                target=ScalableTarget.variant(found["EndpointName"], variant["VariantName"]),
                instance_type=types.get(variant["VariantName"]),
                queued="AsyncInferenceConfig" in found,
            )
            for variant in found.get("ProductionVariants", ())
        )

    def tagged(self) -> Mapping[str, str]:
        """Return profile name by endpoint name for endpoints tagged `tidegate:profile`."""
        profiles: dict[str, str] = {}
        with reading(f"GetResources tagged {PROFILE_TAG}"):
            pages = self._tagging().get_paginator("get_resources")
            for page in pages.paginate(ResourceTypeFilters=["sagemaker:endpoint"], TagFilters=[{"Key": PROFILE_TAG}]):
                for resource in page["ResourceTagMappingList"]:
                    name = resource["ResourceARN"].rsplit("/", 1)[1]
                    tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
                    profiles[name] = tags[PROFILE_TAG]
        return profiles

    def set_count(self, target: ScalableTarget, count: int) -> None:
        """Ask for exactly `count` instances once. Raises TargetBusyError while the endpoint changes."""
        with writing(f"UpdateEndpointWeightsAndCapacities {target.resource_id} to {count}"):
            self._client().update_endpoint_weights_and_capacities(
                EndpointName=target.endpoint_name,
                DesiredWeightsAndCapacities=[{"VariantName": target.variant_name, "DesiredInstanceCount": count}],
            )

    def _endpoint(self, name: str) -> "DescribeEndpointOutputTypeDef | None":
        with reading(f"DescribeEndpoint {name}"):
            try:
                return self._client().describe_endpoint(EndpointName=name)
            except ClientError as err:
                if is_absent(err):
                    return None
                raise

    def _instance_types(self, config: str) -> Mapping[str, str]:
        """Return instance type by variant; a configuration may be deleted while its endpoint runs on."""
        with reading(f"DescribeEndpointConfig {config}"):
            try:
                found = self._client().describe_endpoint_config(EndpointConfigName=config)
            except ClientError as err:
                if is_absent(err):
                    return {}
                raise
        return {v["VariantName"]: v["InstanceType"] for v in found["ProductionVariants"] if "InstanceType" in v}
