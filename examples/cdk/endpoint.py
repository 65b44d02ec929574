"""A model behind an endpoint of one variant: what both apps deploy."""

import aws_cdk as cdk
from aws_cdk import aws_sagemaker as sagemaker

VARIANT = "AllTraffic"


def endpoint_of(stack: cdk.Stack, name: str, *, instance_type: str, instances: int = 1) -> sagemaker.CfnEndpoint:
    """An endpoint whose counts outlive a deployment.

    Args:
        stack: where it goes; image, model data and role are parameters of it.
        name: of the endpoint, which scaling policies and `fleet.yaml` use.
        instance_type: of its variant.
        instances: the number it starts with; what runs later is not CloudFormation's business.
    """
    model = sagemaker.CfnModel(
        stack,
        "Model",
        execution_role_arn=cdk.CfnParameter(stack, "RoleArn").value_as_string,
        primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
            image=cdk.CfnParameter(stack, "Image").value_as_string,
            model_data_url=cdk.CfnParameter(stack, "ModelData").value_as_string,
        ),
    )
    configuration = sagemaker.CfnEndpointConfig(
        stack,
        "Configuration",
        production_variants=[
            sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                variant_name=VARIANT,
                model_name=model.attr_model_name,
                instance_type=instance_type,
                initial_instance_count=instances,
                initial_variant_weight=1,
            )
        ],
    )
    return sagemaker.CfnEndpoint(
        stack,
        "Endpoint",
        endpoint_name=name,
        endpoint_config_name=configuration.attr_endpoint_config_name,
        retain_all_variant_properties=True,
    )
