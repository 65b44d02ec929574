"""Who may call what at the plant: policies as IAM reads them, and the roles of the translated template."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from env.lint_template import translate
from local_account.iam import allowed, statements
from local_account.plant.server import Plant
from local_account.rights import Rights
from simulator.account import SimulatedAccount
from simulator.service import ServiceError
from simulator.workload import RealtimeWorkload
from tests.rights import ACCOUNT, REGION, Deployed

ROOT = Path(__file__).resolve().parents[4]
START = datetime(2025, 4, 2, 6, 0, tzinfo=UTC)
ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:"
AAS = "application-autoscaling"
VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/ranker/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
COMPONENT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/chat-8b",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}


# ---- one statement ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A policy of one statement, and whether it lets cloudwatch:PutMetricAlarm on alarm `hot` through."""

    name: str
    want: bool
    action: str | list[str] = "cloudwatch:PutMetricAlarm"
    resource: str | list[str] = "*"
    condition: Mapping[str, Any] | None = None


VIA = {"aws:CalledViaLast": "application-autoscaling.amazonaws.com"}
CASES = [
    Case("named", want=True),
    Case("one of several", want=True, action=["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"]),
    Case("actions do not look at case", want=True, action="CloudWatch:putmetricalarm"),
    Case("any action of the service", want=True, action="cloudwatch:*"),
    Case("any action", want=True, action="*"),
    Case("another action", want=False, action="cloudwatch:PutMetricData"),
    Case("a part of the name is not enough", want=False, action="cloudwatch:Put"),
    Case("the resource itself", want=True, resource=f"{ALARM}hot"),
    Case("a pattern of it", want=True, resource=f"{ALARM}h*"),
    Case("one letter left open", want=True, resource=f"{ALARM}h?t"),
    Case("resources do look at case", want=False, resource=f"{ALARM}Hot"),
    Case("brackets mean nothing", want=False, resource=f"{ALARM}[h]ot"),
    Case("one of several resources", want=True, resource=[f"{ALARM}cold", f"{ALARM}hot"]),
    Case("another resource", want=False, resource=f"{ALARM}hotter"),
    Case("a condition that holds", want=True, condition={"StringEquals": {"team": "x"}}),
    Case("one of several values", want=True, condition={"StringEquals": {"team": ["y", "x"]}}),
    Case("another value", want=False, condition={"StringEquals": {"team": "y"}}),
    Case("StringEquals knows no pattern", want=False, condition={"StringEquals": {"team": "*"}}),
    Case("StringLike does", want=True, condition={"StringLike": {"team": "?"}}),
    Case("so does ArnLike", want=True, condition={"ArnLike": {"from": "arn:aws:events:*:rule/a*"}}),
    Case("a key that the request has not", want=False, condition={"StringEquals": VIA}),
    Case("both operators must hold", want=False, condition={"StringEquals": {"team": "x"}, "StringLike": VIA}),
    Case("all keys must hold", want=False, condition={"StringEquals": {"team": "x", **VIA}}),
]
CONTEXT = {"team": "x", "from": "arn:aws:events:eu-central-1:1:rule/any"}


def policy(case: Case, effect: str = "Allow") -> dict[str, Any]:
    condition = {} if case.condition is None else {"Condition": case.condition}
    return {"Effect": effect, "Action": case.action, "Resource": case.resource, **condition}


def may(*items: Mapping[str, Any]) -> bool:
    read = [*statements({"Statement": [*items]})]
    return allowed(read, "cloudwatch:PutMetricAlarm", f"{ALARM}hot", CONTEXT)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_one_statement(case: Case) -> None:
    assert may(policy(case)) is case.want


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_deny_wins_where_it_applies(case: Case) -> None:
    everything = policy(Case("", want=True, action="*"))
    assert may(everything, policy(case, "Deny")) is not case.want
    assert may(policy(case, "Deny"), everything) is not case.want


def test_nothing_said_is_nothing_allowed() -> None:
    assert not may()
    assert not may(policy(Case("", want=False, action="s3:GetObject"), "Deny"))


@pytest.mark.parametrize(
    "item",
    [
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "NotResource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAnyValue:StringLike": {"team": "x"}}},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"team": "y"}}},
    ],
    ids=["NotAction", "NotResource", "ForAnyValue", "StringNotEquals"],
)
def test_what_is_not_understood_is_never_a_permission(item: Mapping[str, Any]) -> None:
    """The template uses none of these; who adds one must teach `local_account.iam` first."""
    with pytest.raises(NotImplementedError):
        may(item)


# ---- the deployed roles -------------------------------------------------------------------------------------------


class DeployedIam:
    """As much of boto3's `iam` client as is asked, over the roles of the translated template."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._resources, self._stack = template["Resources"], Deployed(template)

    def _role(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._resources[name]["Properties"]
        return found

    def list_role_policies(self, RoleName: str) -> dict[str, Any]:  # noqa: N803 - boto3's spelling, here and below
        return {"PolicyNames": [policy["PolicyName"] for policy in self._role(RoleName).get("Policies", ())]}

    def get_role_policy(self, RoleName: str, PolicyName: str) -> dict[str, Any]:  # noqa: N803
        (found,) = [each for each in self._role(RoleName)["Policies"] if each["PolicyName"] == PolicyName]
        return {"PolicyDocument": self._plain(found["PolicyDocument"])}

    def list_attached_role_policies(self, RoleName: str) -> dict[str, Any]:  # noqa: N803
        attached = [each["Ref"] for each in self._role(RoleName).get("ManagedPolicyArns", ()) if "Ref" in each]
        return {"AttachedPolicies": [{"PolicyName": name, "PolicyArn": name} for name in attached]}

    def get_policy(self, PolicyArn: str) -> dict[str, Any]:  # noqa: N803
        return {"Policy": {"Arn": PolicyArn, "DefaultVersionId": "v1"}}

    def get_policy_version(self, PolicyArn: str, VersionId: str) -> dict[str, Any]:  # noqa: N803
        document = self._resources[PolicyArn]["Properties"]["PolicyDocument"]
        return {"PolicyVersion": {"VersionId": VersionId, "Document": self._plain(document)}}

    def _plain(self, value: Any) -> Any:
        """The document as CloudFormation would leave it."""
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        if isinstance(value, dict) and not {"Ref", "Fn::Sub", "Fn::GetAtt"} & value.keys():
            return {key: self._plain(item) for key, item in value.items()}
        return self._stack.value(value)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return translate()


PASSES = ["RealtimeTarget", "AsyncQueue", "BatchWindow", "Override"]
FUNCTIONS = [*PASSES, "FleetSync", "PolicyValidator"]


@pytest.fixture
def rights(template: dict[str, Any], tmp_path: Path) -> Rights:
    """The access key of a function is its name; FleetSync has registered somebody before."""
    for function in FUNCTIONS:
        (tmp_path / function).write_text(function)
    roles = {function: f"{function}Role" for function in FUNCTIONS}
    found = Rights(tmp_path, DeployedIam(template), REGION, ACCOUNT, roles)
    found.authorise("FleetSync", AAS, "RegisterScalableTarget", VARIANT)
    return found


TRACKING = {**VARIANT, "PolicyName": "p", "PolicyType": "TargetTrackingScaling"}
EVERY_PASS: list[tuple[str, str, Mapping[str, Any]]] = [
    ("cloudwatch", "GetMetricData", {}),
    ("cloudwatch", "DescribeAlarms", {"AlarmNames": ["tidegate-target-prod-x"]}),
    (AAS, "DescribeScalableTargets", {"ServiceNamespace": "sagemaker"}),
    (AAS, "DescribeScalingPolicies", {"ServiceNamespace": "sagemaker"}),
    (AAS, "DescribeScalingActivities", {"ServiceNamespace": "sagemaker"}),
    (AAS, "RegisterScalableTarget", VARIANT),
    (AAS, "PutScheduledAction", VARIANT),
    (AAS, "DeleteScheduledAction", VARIANT),
    (AAS, "RegisterScalableTarget", COMPONENT),
    (
        AAS,
        "RegisterScalableTarget",
        {**VARIANT, "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"},
    ),
    ("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": "Chat-8B"}),
    ("sagemaker", "UpdateInferenceComponentRuntimeConfig", {"InferenceComponentName": "chat-8b"}),
    ("sagemaker", "ListEndpoints", {}),
    ("sagemaker", "ListInferenceComponents", {"EndpointNameEquals": "llm"}),
    ("sagemaker", "DescribeEndpoint", {"EndpointName": "Ranker"}),
    ("sagemaker", "UpdateEndpointWeightsAndCapacities", {"EndpointName": "ranker"}),
]
ONLY_FLEET_SYNC: list[tuple[str, str, Mapping[str, Any]]] = [
    (AAS, "PutScalingPolicy", TRACKING),
    (AAS, "PutScalingPolicy", {**TRACKING, "PolicyType": "StepScaling"}),
    (AAS, "DeleteScalingPolicy", VARIANT),
    (AAS, "DeregisterScalableTarget", VARIANT),
    (AAS, "DescribeScheduledActions", {"ServiceNamespace": "sagemaker"}),
    ("resourcegroupstaggingapi", "GetResources", {}),
    ("cloudwatch", "PutMetricAlarm", {"AlarmName": "tidegate-target-prod-realtime-x"}),
    ("cloudwatch", "DeleteAlarms", {"AlarmNames": ["tidegate-target-prod-realtime-x"]}),
]
NOBODY: list[tuple[str, str, Mapping[str, Any]]] = [
    (AAS, "RegisterScalableTarget", {**VARIANT, "ScalableDimension": "ecs:service:DesiredCount"}),
    (AAS, "PutScheduledAction", {**VARIANT, "ServiceNamespace": "ecs"}),
    ("cloudwatch", "PutMetricData", {}),
    ("cloudwatch", "SetAlarmState", {"AlarmName": "tidegate-target-prod-realtime-x"}),
    ("cloudwatch", "PutMetricAlarm", {"AlarmName": "tidegate-ops-prod-errors"}),
    ("cloudwatch", "PutMetricAlarm", {"AlarmName": "TargetTracking-endpoint/ranker/variant/AllTraffic-AlarmHigh"}),
    ("cloudwatch", "DeleteAlarms", {"AlarmNames": ["tidegate-target-prod-x", "somebody-elses"]}),
]


def refusal(rights: Rights, key: str, call: tuple[str, str, Mapping[str, Any]]) -> str:
    """The code a call is refused with; "" if it may be made."""
    try:
        assert rights.authorise(key, *call)
    except ServiceError as error:
        return error.code
    return ""


def named(calls: list[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
    return [f"{operation} {' '.join(map(str, params.values()))}".strip() for _, operation, params in calls]


@pytest.mark.parametrize("call", EVERY_PASS, ids=named(EVERY_PASS))
@pytest.mark.parametrize("function", [*PASSES, "FleetSync"])
def test_what_a_pass_needs_is_allowed(rights: Rights, function: str, call: tuple[str, str, dict[str, Any]]) -> None:
    assert refusal(rights, function, call) == ""


@pytest.mark.parametrize("call", ONLY_FLEET_SYNC, ids=named(ONLY_FLEET_SYNC))
def test_what_only_fleet_sync_may(rights: Rights, call: tuple[str, str, dict[str, Any]]) -> None:
    codes = {function: refusal(rights, function, call) for function in FUNCTIONS}
    denied = "AccessDenied" if call[0] == "cloudwatch" else "AccessDeniedException"
    owners = dict.fromkeys(("RealtimeTarget", "BatchWindow"), "")  # they write request targets
    tunes = owners if call[1] == "PutScalingPolicy" else {}
    assert codes == {**dict.fromkeys(FUNCTIONS, denied), **tunes, "FleetSync": ""}


@pytest.mark.parametrize("call", NOBODY, ids=named(NOBODY))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_nobody_may(rights: Rights, function: str, call: tuple[str, str, dict[str, Any]]) -> None:
    assert refusal(rights, function, call) in {"AccessDenied", "AccessDeniedException"}


@pytest.mark.parametrize("call", [*EVERY_PASS, *ONLY_FLEET_SYNC], ids=named([*EVERY_PASS, *ONLY_FLEET_SYNC]))
def test_the_validator_may_nothing_at_all(rights: Rights, call: tuple[str, str, dict[str, Any]]) -> None:
    assert refusal(rights, "PolicyValidator", call) in {"AccessDenied", "AccessDeniedException"}


@pytest.mark.parametrize("call", NOBODY, ids=named(NOBODY))
def test_the_administrator_may_everything(rights: Rights, call: tuple[str, str, dict[str, Any]]) -> None:
    assert refusal(rights, "test", call) == ""


def test_a_key_that_nobody_has_is_unknown(rights: Rights) -> None:
    assert refusal(rights, "AKIASTRANGER", EVERY_PASS[0]) == "UnrecognizedClientException"


# ---- what AAS asks its caller for ---------------------------------------------------------------------------------


def without(template: dict[str, Any], action: str) -> dict[str, Any]:
    """The template with one action taken out of every statement."""

    def thinned(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if kept := [each for each in actions if each != action]:
            yield {**statement, "Action": kept}

    changed: dict[str, Any] = json.loads(json.dumps(template))
    for resource in changed["Resources"].values():
        properties = resource.get("Properties", {})
        for policy in (*properties.get("Policies", ()), properties):
            if isinstance(policy, dict) and "PolicyDocument" in policy and resource["Type"].startswith("AWS::IAM::"):
                document = policy["PolicyDocument"]
                document["Statement"] = [kept for each in document["Statement"] for kept in thinned(each)]
    return changed


PUTS = ["RegisterScalableTarget", "PutScalingPolicy"]
PROBED_BY = {
    "sagemaker:DescribeEndpoint": PUTS,
    "sagemaker:DescribeEndpointConfig": PUTS,
    "sagemaker:UpdateEndpointWeightsAndCapacities": PUTS,
    "sagemaker:DescribeInferenceComponent": PUTS,
    "sagemaker:UpdateInferenceComponentRuntimeConfig": PUTS,
    "cloudwatch:DescribeAlarms": PUTS,
    "cloudwatch:PutMetricAlarm": PUTS,
    "cloudwatch:DeleteAlarms": [*PUTS, "DeleteScalingPolicy", "DeregisterScalableTarget"],
    "iam:CreateServiceLinkedRole": ["RegisterScalableTarget"],
}
"""AAS User Guide, "Permissions validation": before anything it calls SageMaker, and all three of CloudWatch, as its caller."""


@pytest.mark.parametrize("target", [TRACKING, {**TRACKING, **COMPONENT}], ids=["variant", "component"])
def test_a_schedule_may_take_a_target_value_back_when_nobody_is_left(rights: Rights, target: dict[str, Any]) -> None:
    rights.check("FallbackRole", "scheduler", AAS, "PutScalingPolicy", target)


@pytest.mark.parametrize("action", PROBED_BY)
def test_a_right_that_aas_misses_is_named(template: dict[str, Any], tmp_path: Path, action: str) -> None:
    """In an account where nobody has registered anything yet."""
    (tmp_path / "key").write_text("FleetSync")
    for operation in PROBED_BY[action]:
        iam = DeployedIam(without(template, action))
        rights = Rights(tmp_path, iam, REGION, ACCOUNT, {"FleetSync": "FleetSyncRole"})
        for _ in range(2):  # asking again is no way round
            with pytest.raises(ServiceError, match=rf"ValidationException: .*not authorized to perform: {action} on "):
                rights.authorise("key", AAS, operation, COMPONENT if "InferenceComponent" in action else TRACKING)


def test_once_anybody_has_registered_the_service_linked_role_is_there(template: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("FleetSync")
    iam = DeployedIam(without(template, "iam:CreateServiceLinkedRole"))
    rights = Rights(tmp_path, iam, REGION, ACCOUNT, {"FleetSync": "FleetSyncRole"})
    rights.authorise("test", AAS, "RegisterScalableTarget", TRACKING)
    assert rights.authorise("key", AAS, "RegisterScalableTarget", TRACKING)


def test_the_published_list_of_such_rights_is_complete() -> None:
    published = json.loads((ROOT / "docs/aas-probe-rights.json").read_text(encoding="utf-8"))["rights"]
    assert {right["action"] for right in published} == set(PROBED_BY)


def test_only_aas_itself_may_use_the_rights_on_its_alarms(rights: Rights) -> None:
    """Over HTTP: the same role, the same alarm; through AAS it is written, by itself it is refused."""
    account = SimulatedAccount(START, REGION, ACCOUNT)
    idle = RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1.0)
    account.add_endpoint(name="ranker", workload=idle, instance_count=2)
    configuration = {
        "TargetValue": 100.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    with Plant(account, authorise=rights.authorise) as plant:
        aas: Any = plant.client(AAS, "FleetSync")
        cloudwatch: Any = plant.client("cloudwatch", "FleetSync")
        aas.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=4)
        put = aas.put_scaling_policy(**TRACKING, TargetTrackingScalingPolicyConfiguration=configuration)
        name = put["Alarms"][0]["AlarmName"]
        with pytest.raises(ClientError, match=r"AccessDenied.*cloudwatch:DeleteAlarms.*alarm:TargetTracking"):
            cloudwatch.delete_alarms(AlarmNames=[name])
        aas.delete_scaling_policy(**VARIANT, PolicyName="p")
        assert account.cloudwatch.alarms == {}
