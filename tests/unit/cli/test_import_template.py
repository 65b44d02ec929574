"""`tidegate import --template`: what a CloudFormation template, or `cdk synth`, would make."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.adoption import Imported, imported
from cli.errors import RefusedError
from cli.estate import Estate, read_estate
from cli.findings import findings_of
from cli.main import app
from cli.policy_file import read_policy_file
from cli.template import read_template
from core.model import Capacity, Envelope, Serving
from tests.estates import NOW, People, alarm, by_endpoint, by_variant, custom, requests, steps, wake

ORDERS = "endpoint/orders/variant/AllTraffic"

SAM_STYLE = """\
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Stage: {Type: String, Default: dev}
  Most: {Type: Number, Default: 8}
Conditions:
  Production: !Equals [!Ref Stage, prod]
Resources:
  Config:
    Type: AWS::SageMaker::EndpointConfig
    Properties:
      ProductionVariants:
        - {VariantName: AllTraffic, ModelName: !GetAtt Model.ModelName, InstanceType: ml.m5.xlarge, InitialInstanceCount: 2}
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties:
      EndpointName: orders
      EndpointConfigName: !GetAtt Config.EndpointConfigName
      Tags: [{Key: team, Value: ranking}]
  Scaling:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Properties:
      ServiceNamespace: sagemaker
      ScalableDimension: sagemaker:variant:DesiredInstanceCount
      ResourceId: !Sub endpoint/${Endpoint.EndpointName}/variant/AllTraffic
      MinCapacity: !If [Production, 2, "1"]
      MaxCapacity: !Ref Most
      ScheduledActions:
        - ScheduledActionName: morning
          Schedule: cron(0 7 * * ? *)
          Timezone: Europe/Berlin
          ScalableTargetAction: {MinCapacity: 4}
        - ScheduledActionName: evening
          Schedule: cron(0 20 * * ? *)
          Timezone: Europe/Berlin
          ScalableTargetAction: {MinCapacity: 1}
  Requests:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      PolicyName: requests
      PolicyType: TargetTrackingScaling
      ScalingTargetId: !Ref Scaling
      TargetTrackingScalingPolicyConfiguration:
        TargetValue: "200"
        ScaleInCooldown: 300
        ScaleOutCooldown: 60
        PredefinedMetricSpecification: {PredefinedMetricType: SageMakerVariantInvocationsPerInstance}
  Cpu:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      PolicyName: cpu
      PolicyType: TargetTrackingScaling
      ServiceNamespace: sagemaker
      ScalableDimension: sagemaker:variant:DesiredInstanceCount
      ResourceId: !Join ["/", [endpoint, !Select [1, !Split ["/", !Ref Endpoint]], variant, AllTraffic]]
      TargetTrackingScalingPolicyConfiguration:
        TargetValue: 70
        CustomizedMetricSpecification:
          Namespace: /aws/sagemaker/Endpoints
          MetricName: CPUUtilization
          Statistic: Average
          Dimensions:
            - {Name: EndpointName, Value: !GetAtt Endpoint.EndpointName}
            - {Name: VariantName, Value: AllTraffic}
  More:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      PolicyName: more
      PolicyType: StepScaling
      ScalingTargetId: !Ref Scaling
      StepScalingPolicyConfiguration:
        AdjustmentType: ChangeInCapacity
        MetricAggregationType: Average
        StepAdjustments:
          - {MetricIntervalLowerBound: 0, MetricIntervalUpperBound: 40, ScalingAdjustment: 1}
          - {MetricIntervalLowerBound: 40, ScalingAdjustment: 2}
  High:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: /aws/sagemaker/Endpoints
      MetricName: CPUUtilization
      Statistic: Average
      Period: 60
      EvaluationPeriods: 3
      Threshold: 280
      ComparisonOperator: GreaterThanOrEqualToThreshold
      Dimensions:
        - {Name: EndpointName, Value: !GetAtt Endpoint.EndpointName}
        - {Name: VariantName, Value: AllTraffic}
      AlarmActions: [!Ref More]
  NotThisOne:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Condition: Production
    Properties: {ServiceNamespace: sagemaker, ResourceId: endpoint/x/variant/y}
  NorThisTable:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Properties: {ServiceNamespace: dynamodb, ResourceId: table/orders, MinCapacity: 1, MaxCapacity: 2}
"""


def by_hand() -> People:
    """The same, registered in an account."""
    people = People()
    people.endpoint("orders", tags={"team": "ranking"})
    people.register(ORDERS, 1, 8)
    people.track(ORDERS, "cpu", custom(70.0, "CPUUtilization", by_variant("orders")))
    cpu = alarm("high", "CPUUtilization", by_variant("orders"), 280.0, EvaluationPeriods=3)
    people.step(ORDERS, "more", steps((0.0, 40.0, 1), (40.0, None, 2), MetricAggregationType="Average"), cpu)
    people.track(ORDERS, "requests", requests(200.0, ScaleInCooldown=300, ScaleOutCooldown=60))
    berlin = {"Timezone": "Europe/Berlin"}
    people.schedule(ORDERS, "morning", "cron(0 7 * * ? *)", {"MinCapacity": 4}, **berlin)
    people.schedule(ORDERS, "evening", "cron(0 20 * * ? *)", {"MinCapacity": 1}, **berlin)
    return people


def template(folder: Path, content: str | dict[str, Any], **parameters: str) -> Estate:
    file = folder / "template.yaml"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_template(file, parameters, NOW)


def taken(estate: Estate) -> Imported:
    return imported(estate, findings_of(estate))


def sorted_policies(document: dict[str, Any]) -> dict[str, Any]:
    for profile in document["profiles"].values():
        profile["policies"].sort(key=str)
    return document


def test_a_template_and_the_account_it_makes_give_one_file(tmp_path: Path) -> None:
    ours, theirs = taken(template(tmp_path, SAM_STYLE)), taken(read_estate(by_hand(), NOW))
    assert sorted_policies(ours.document) == sorted_policies(theirs.document)
    assert ours.left_out == theirs.left_out == ()
    for code in ("CpuSummedOverCores", "BlocksDeployment"):
        assert code in ours.text
        assert code in theirs.text


def test_parameters_conditions_and_what_is_not_sagemakers(tmp_path: Path) -> None:
    estate = template(
        tmp_path,
        SAM_STYLE.replace("{ServiceNamespace: sagemaker, R", "{ServiceNamespace: x, R"),
        Stage="prod",
        Most="5",
    )
    [(endpoint, hosted)] = estate.hosted
    assert hosted.registration is not None
    assert hosted.registration.bounds == Envelope(2, 5)
    assert endpoint.tags == {"team": "ranking"}
    assert hosted.variant.instance_type == "ml.m5.xlarge"
    assert hosted.capacity == Capacity(2, 2, "InService")


CDK: dict[str, Any] = {
    "Resources": {
        "PapersConfig0A1B": {
            "Type": "AWS::SageMaker::EndpointConfig",
            "Properties": {
                "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": {"Ref": "Bucket"}}},
                "ProductionVariants": [
                    {"VariantName": "AllTraffic", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
                ],
            },
        },
        "Papers2C3D": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["PapersConfig0A1B", "EndpointConfigName"]}},
        },
        "PapersTarget4E5F": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "MinCapacity": 0,
                "MaxCapacity": 5,
                "ResourceId": {
                    "Fn::Join": [
                        "",
                        ["endpoint/", {"Fn::GetAtt": ["Papers2C3D", "EndpointName"]}, "/variant/AllTraffic"],
                    ]
                },
                "RoleARN": {
                    "Fn::Join": [
                        "",
                        ["arn:", {"Ref": "AWS::Partition"}, ":iam::", {"Ref": "AWS::AccountId"}, ":role/x"],
                    ]
                },
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                "ServiceNamespace": "sagemaker",
            },
        },
        "PapersBacklog6A7B": {
            "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
            "Properties": {
                "PolicyName": "ModelsPapersBacklog",
                "PolicyType": "TargetTrackingScaling",
                "ScalingTargetId": {"Ref": "PapersTarget4E5F"},
                "TargetTrackingScalingPolicyConfiguration": {
                    "CustomizedMetricSpecification": {
                        "Dimensions": [
                            {"Name": "EndpointName", "Value": {"Fn::GetAtt": ["Papers2C3D", "EndpointName"]}}
                        ],
                        "MetricName": "ApproximateBacklogSizePerInstance",
                        "Namespace": "AWS/SageMaker",
                        "Statistic": "Average",
                    },
                    "TargetValue": 5,
                },
            },
        },
        "PapersWakeUpperPolicy8C9D": {
            "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
            "Properties": {
                "PolicyName": "ModelsPapersWakeUpperPolicy",
                "PolicyType": "StepScaling",
                "ScalingTargetId": {"Ref": "PapersTarget4E5F"},
                "StepScalingPolicyConfiguration": {
                    "AdjustmentType": "ChangeInCapacity",
                    "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
                },
            },
        },
        "PapersWakeUpperAlarm0E1F": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "AlarmActions": [{"Ref": "PapersWakeUpperPolicy8C9D"}],
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "Dimensions": [{"Name": "EndpointName", "Value": {"Fn::GetAtt": ["Papers2C3D", "EndpointName"]}}],
                "EvaluationPeriods": 2,
                "MetricName": "HasBacklogWithoutCapacity",
                "Namespace": "AWS/SageMaker",
                "Period": 60,
                "Statistic": "Average",
                "Threshold": 1,
            },
        },
    }
}


def test_what_cdk_synth_writes(tmp_path: Path) -> None:
    """The endpoint has no name yet: its logical ID stands for it, and the file says so."""
    people = People()
    resource = people.endpoint("Papers2C3D", count=1, instance_type="ml.g5.xlarge", asynchronous=True)
    people.register(resource, 0, 5)
    people.track(resource, "b", custom(5.0, "ApproximateBacklogSizePerInstance", by_endpoint("Papers2C3D")))
    people.step(resource, "w", steps((0.0, None, 1)), wake("Papers2C3D"))
    ours, theirs = taken(template(tmp_path, CDK)), taken(read_estate(people, NOW))
    assert ours.document == theirs.document
    assert ours.document["profiles"]["Papers2C3D"]["kind"] == "async"
    assert "# Papers2C3D has no name in the template: write the deployed one into its entry" in ours.text
    assert "NoWakeUp" not in ours.text


COMPONENT = """\
Resources:
  Config:
    Type: AWS::SageMaker::EndpointConfig
    Properties:
      ProductionVariants:
        - VariantName: v
          InstanceType: ml.g5.xlarge
          InitialInstanceCount: 1
          ManagedInstanceScaling: {Status: ENABLED, MinInstanceCount: 0, MaxInstanceCount: 4}
  Host:
    Type: AWS::SageMaker::Endpoint
    Properties: {EndpointName: chat, EndpointConfigName: !GetAtt Config.EndpointConfigName}
  Chat:
    Type: AWS::SageMaker::InferenceComponent
    Properties: {InferenceComponentName: chat-8b, EndpointName: !GetAtt Host.EndpointName, VariantName: v, RuntimeConfig: {CopyCount: 1}}
  Target:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Properties:
      ServiceNamespace: sagemaker
      ScalableDimension: sagemaker:inference-component:DesiredCopyCount
      ResourceId: !Sub
        - inference-component/${Name}
        - {Name: !GetAtt Chat.InferenceComponentName}
      MinCapacity: 1
      MaxCapacity: 4
"""


def test_an_inference_component(tmp_path: Path) -> None:
    estate = template(tmp_path, COMPONENT)
    assert [(each.variant.serving, each.variant.managed_minimum) for _, each in estate.hosted] == [
        (Serving.REALTIME, 0),
        (Serving.INFERENCE_COMPONENT, 0),
    ]
    assert taken(estate).document["endpoints"] == [
        {"name": "chat", "inference_component": "chat-8b", "profile": "chat-8b"}
    ]


BARE = """\
Parameters: {Endpoint: {Type: String}}
Resources:
  Target:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Properties:
      ServiceNamespace: sagemaker
      ScalableDimension: sagemaker:variant:DesiredInstanceCount
      ResourceId: !Sub endpoint/${Endpoint}/variant/AllTraffic
      MinCapacity: 1
      MaxCapacity: !FindInMap [Sizes, !Ref AWS::Region, most]
Mappings: {Sizes: {eu-central-1: {most: 6}}}
"""


def test_scaling_alone_of_an_endpoint_that_is_made_elsewhere(tmp_path: Path) -> None:
    estate = template(tmp_path, BARE, **{"Endpoint": "orders", "AWS::Region": "eu-central-1"})
    [(endpoint, hosted)] = estate.hosted
    assert (endpoint.name, hosted.variant.serving, hosted.variant.instance_type) == ("orders", Serving.REALTIME, None)
    assert hosted.registration is not None
    assert hosted.registration.bounds == Envelope(1, 6)
    text = taken(estate).text
    assert "is registered here and made elsewhere: its kind is inferred" in text
    assert "state vcpus in its entry: the catalogue lacks its instance type" in " ".join(text.replace("#", " ").split())


def test_what_matters_and_is_not_known_is_asked_for_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        RefusedError, match=r"not known: Endpoint, Fn::FindInMap Sizes unknown-AWS-Region most; say --parameter"
    ):
        template(tmp_path, BARE)


SIZED = """\
Parameters:
  Scale: {Type: String, Default: true}
  Bounds: {Type: CommaDelimitedList, Default: "2, 5"}
  Kept: {Type: "AWS::SSM::Parameter::Value<String>", Default: /orders/most}
Conditions: {Scaled: !Equals [!Ref Scale, "true"], Named: !Equals [!Sub "${Scale}-${Kept}", "true-9"]}
Resources:
  Scaling:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Condition: Scaled
    Properties:
      ServiceNamespace: sagemaker
      ScalableDimension: sagemaker:variant:DesiredInstanceCount
      ResourceId: endpoint/orders/variant/AllTraffic
      MinCapacity: !Select [0, !Ref Bounds]
      MaxCapacity: !If [Named, !Ref Kept, MOST]
"""


@pytest.mark.parametrize(
    ("most", "given", "bounds"),
    [
        ("!Select [1, !Ref Bounds]", {}, Envelope(2, 5)),
        ("!Select [1, !Ref Bounds]", {"Scale": "true", "Bounds": "1,4"}, Envelope(1, 4)),
        ("!FindInMap [Sizes, a, b, {DefaultValue: 7}]", {}, Envelope(2, 7)),
        ("1", {"Kept": "9"}, Envelope(2, 9)),
    ],
)
def test_values_are_what_cloudformation_makes_of_them(
    most: str, given: dict[str, str], bounds: Envelope, tmp_path: Path
) -> None:
    [(_, hosted)] = template(tmp_path, SIZED.replace("MOST", most), **given).hosted
    assert hosted.registration is not None
    assert hosted.registration.bounds == bounds


def test_a_condition_of_a_truth_is_met_by_its_text(tmp_path: Path) -> None:
    assert template(tmp_path, SIZED.replace("MOST", "4"), Scale="false").hosted == ()
    written = SIZED.replace("MOST", "4").replace('!Equals [!Ref Scale, "true"]', "!Equals [!Ref Scale, true]")
    assert template(tmp_path, written, Scale="true").hosted


@pytest.mark.parametrize(
    ("most", "asked"), [("!Ref Kept", "Kept"), ("!Length [a, b]", "Fn::Length"), ("{'Fn::Cidr': [a]}", "Fn::Cidr")]
)
def test_what_only_a_deployment_knows_is_asked_for_by_its_name(most: str, asked: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=f"not known: {asked}; say --parameter"):
        template(tmp_path, SIZED.replace("MOST", most))


BROKEN = {
    "no YAML": ("Resources: [", "is no template"),
    "no template": ("- 1", "it has no Resources"),
    "a loop": (
        '{"Resources": {"Fn::ForEach::Each": ["Each", [], {}]}}',
        "Resources.Fn::ForEach::Each: must be mappings",
    ),
    "a list of properties": ("Resources: {A: {Properties: []}}", "Resources.A: must be mappings"),
    "bounds the wrong way round": (SIZED.replace("MOST", "1"), "would deploy .*envelope 2..1"),
    "no dimension": (SIZED.replace("ScalableDimension", "Dimension"), "would deploy .*ScalableDimension"),
    "conditions in a circle": (
        "Conditions: {A: !Condition A}\nResources: {B: {Type: 'AWS::SageMaker::Endpoint', Condition: A}}",
        "would deploy .*RecursionError",
    ),
    "no JSON": ('{"Resources": ', "is no template"),
}


@pytest.mark.parametrize(("content", "why"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_template_is_refused(content: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=why):
        template(tmp_path, content)


def tidegate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


STEP = """\
  Out:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      {PolicyName: out, PolicyType: StepScaling, ScalingTargetId: !Ref Scaling, StepScalingPolicyConfiguration:
        {AdjustmentType: ChangeInCapacity, StepAdjustments: [{MetricIntervalLowerBound: 0, ScalingAdjustmnt: 1}]}}
"""
UNDEPLOYABLE = {
    "a target value is missing": (SAM_STYLE.replace("TargetValue: 70", "Target: 70"), "KeyError: 'TargetValue'"),
    "a field of a dimension is misspelt": (SAM_STYLE.replace("{Name: VariantName", "{Nam: VariantName"), "'Name'"),
    "a field of a step is misspelt": (SAM_STYLE + STEP, "KeyError: 'ScalingAdjustment'"),
    "a configuration is text": (
        SAM_STYLE.replace("PredefinedMetricSpecification: {", "CustomizedMetricSpecification: x #"),
        "AttributeError",
    ),
    "one part of none is chosen": (SAM_STYLE.replace("!Select [1, ", "!Select [[], "), "TypeError"),
    "a function lacks its second argument": (
        SAM_STYLE.replace('!Split ["/", !Ref Endpoint]', '!Split ["/"]'),
        "IndexError",
    ),
}


@pytest.mark.parametrize(("content", "why"), UNDEPLOYABLE.values(), ids=UNDEPLOYABLE)
def test_what_cloudformation_would_refuse_is_refused_wherever_it_is_met(content: str, why: str, tmp_path: Path) -> None:
    source = tmp_path / "template.yaml"
    source.write_text(content)
    result = tidegate("--template", source)
    assert (result.exit_code, result.stdout) == (2, ""), result.exception
    assert f"refused: {source}: is no template that CloudFormation would deploy (" in result.stderr
    assert why in result.stderr


def test_a_template_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    source = tmp_path / "template.json"
    made = {"Type": "AWS::SageMaker::Endpoint", "Properties": {"EndpointName": "orders"}}
    source.write_text(json.dumps({"Resources": {"Endpoint": made}}, indent="\t"), encoding="utf-8-sig")
    assert tidegate("--template", source).exit_code == 0


def test_the_command_needs_no_account(tmp_path: Path) -> None:
    source, file = tmp_path / "template.yaml", tmp_path / "fleet.yaml"
    source.write_text(SAM_STYLE)
    result = tidegate("--template", source, "--parameter", "Most=6", "--output", file)
    assert result.exit_code == 0, result.output
    [profile] = read_policy_file(file).fleet.profiles.values()
    assert profile.max_capacity == 6
    mistyped = tidegate("offers", "--template", source)
    assert (mistyped.exit_code, mistyped.stdout) == (2, "")
    assert f"refused: ENDPOINT = 'offers': is not in {source}" in mistyped.stderr
    wrong = tidegate("--template", source, "--parameter", "Most")
    assert (wrong.exit_code, wrong.stderr) == (2, "refused: --parameter Most: must be NAME=VALUE\n")
