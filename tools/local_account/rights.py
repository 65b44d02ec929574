"""Which caller may do what at the simulator: the deployed roles, held against each call that a Lambda makes there."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_account.environment import ACCESS_KEY
from local_account.iam import Context, Statement, allowed, role_policy, statements
from simulator.service import ServiceError

PREFIXES = {"resourcegroupstaggingapi": "tag"}
"""Where IAM calls a service something else than boto3."""

SAGEMAKERS = {
    "EndpointConfigName": "endpoint-config",
    "InferenceComponentName": "inference-component",
    "EndpointName": "endpoint",
}
"""What a parameter of SageMaker's names, by its name."""

REMEMBERED_SECONDS = 5.0
"""Changed rights are in force after this long; on AWS it is of that order, too."""

AAS = "application-autoscaling.amazonaws.com"
SERVICE_LINKED_ROLE = (
    "role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that a caller must be allowed to do."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


@dataclass(slots=True)
class Rights:
    """Decides for the plant, and remembers what was used.

    Args:
        callers: the folder in which each Lambda worker leaves its function's name under its access key.
        iam: boto3's `iam` client of the emulator.
        region: of the account.
        account_id: of the account.
        roles: a function's name to its role's.
    """

    callers: Path
    iam: Any
    region: str
    account_id: str
    roles: Mapping[str, str] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)
    _functions: dict[str, str] = field(default_factory=dict)
    _policies: dict[str, tuple[float, tuple[Statement, ...]]] = field(default_factory=dict)
    _service_linked_role: bool = False

    def authorise(self, access_key: str, service: str, operation: str, params: Mapping[str, Any]) -> bool:
        """Say yes, or raise what AWS answers a caller without the right."""
        if access_key != ACCESS_KEY:  # which is the emulator's administrator
            function = self.function(access_key)
            self.check(self.roles[function], function, service, operation, params)
        if (service, operation) == ("application-autoscaling", "RegisterScalableTarget"):
            self._service_linked_role = True  # the first registration that is allowed makes it
        return True

    def check(self, role: str, session: str, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """Raise what AWS answers unless the role may make this call, and AAS what it does with the role's rights."""
        for request in self._needs(service, operation, params):
            self.require(role, request, f"assumed-role/{role}/{session}", service)
        for request in self._probes(service, operation, params):
            self.used.add((role, request.action))
            if not self.may(role, request):
                raise ServiceError("ValidationException", f"{_refusal(f'role/{role}', request)} (asked by {AAS})")

    def check_trust(self, role: str, principal: str, source: str) -> None:
        """Raise AccessDenied unless a service may assume the role for a resource of this account."""
        document = self.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        trust = [each for each in statements(document) if each.service == principal]
        context = {"aws:SourceAccount": self.account_id, "aws:SourceArn": source}
        if not allowed(trust, "sts:AssumeRole", "*", context):
            raise ServiceError("AccessDeniedException", f"{principal} may not assume {role} for {source}")

    def function(self, access_key: str) -> str:
        """Return the function whose worker has this key."""
        if access_key not in self._functions:
            note = self.callers / Path(access_key).name
            if not note.is_file():
                raise ServiceError(
                    "UnrecognizedClientException", "The security token included in the request is invalid."
                )
            self._functions[access_key] = note.read_text()
        return self._functions[access_key]

    def require(self, role: str, request: Request, who: str, service: str) -> None:
        """Raise AccessDenied, as the service spells it, unless the role may."""
        self.used.add((role, request.action))
        if not self.may(role, request):
            code = "AccessDenied" if service == "cloudwatch" else "AccessDeniedException"
            raise ServiceError(code, _refusal(f"arn:aws:sts::{self.account_id}:{who}", request))

    def may(self, role: str, request: Request) -> bool:
        """Whether the role's policies allow it."""
        return allowed(self.policy(role), request.action, request.resource, request.context)

    def policy(self, role: str) -> tuple[Statement, ...]:
        """Return what the role's policies say, as of some seconds ago."""
        read, policy = self._policies.get(role, (-REMEMBERED_SECONDS, ()))
        if time.monotonic() - read >= REMEMBERED_SECONDS:
            policy = role_policy(self.iam, role)
            self._policies[role] = (time.monotonic(), policy)
        return policy

    def forget(self) -> None:
        """Read the policies again at the next call."""
        self._policies.clear()

    def _needs(self, service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Request]:
        """Yield what the caller itself asks for. Reads that know no resource are checked against "*"."""
        action = f"{PREFIXES.get(service, service)}:{operation}"
        if service == "application-autoscaling" and not operation.startswith("Describe"):
            context = {
                "application-autoscaling:service-namespace": str(params.get("ServiceNamespace")),
                "application-autoscaling:scalable-dimension": str(params.get("ScalableDimension")),
            }
            yield Request(action, self._arn("application-autoscaling", "scalable-target/0a1b2c3d"), context)
        elif named := next((each for each in SAGEMAKERS if each in params), None):
            yield Request(action, self._arn("sagemaker", f"{SAGEMAKERS[named]}/{params[named]}".lower()))
        elif service == "cloudwatch" and operation in {"PutMetricAlarm", "DeleteAlarms", "SetAlarmState"}:
            for name in params.get("AlarmNames", [params.get("AlarmName")]):
                yield Request(action, self._arn("cloudwatch", f"alarm:{name}"))
        else:
            yield Request(action)

    def _probes(self, service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Request]:
        """Yield what Application Auto Scaling does with its caller's rights (docs/aas-probe-rights.json)."""
        if service != "application-autoscaling":
            return
        resource = str(params.get("ResourceId"))
        via = {"aws:CalledViaLast": AAS, "aws:CalledViaFirst": AAS}
        alarm = self._arn("cloudwatch", f"alarm:TargetTracking-{resource}-AlarmHigh")
        if operation in {"RegisterScalableTarget", "PutScalingPolicy"}:
            counted = self._arn("sagemaker", "/".join(resource.split("/")[:2]))
            if resource.startswith("inference-component/"):
                yield Request("sagemaker:DescribeInferenceComponent", counted, via)
                yield Request("sagemaker:UpdateInferenceComponentRuntimeConfig", counted, via)
            else:
                yield Request("sagemaker:DescribeEndpoint", counted, via)
                yield Request("sagemaker:UpdateEndpointWeightsAndCapacities", counted, via)
                yield Request("sagemaker:DescribeEndpointConfig", self._arn("sagemaker", "endpoint-config/any"), via)
            yield Request("cloudwatch:DescribeAlarms", "*", via)
            for action in ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"):  # "without any parameters"
                yield Request(action, self._arn("cloudwatch", "alarm:"), via)
            if operation == "RegisterScalableTarget" and not self._service_linked_role:
                arn = f"arn:aws:iam::{self.account_id}:{SERVICE_LINKED_ROLE}"
                name = "sagemaker.application-autoscaling.amazonaws.com"
                yield Request("iam:CreateServiceLinkedRole", arn, {**via, "iam:AWSServiceName": name})
        if operation == "PutScalingPolicy" and params.get("PolicyType") == "TargetTrackingScaling":
            yield Request("cloudwatch:PutMetricAlarm", alarm, via)
        if operation in {"DeleteScalingPolicy", "DeregisterScalableTarget"}:
            yield Request("cloudwatch:DeleteAlarms", alarm, via)

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"


def _refusal(who: str, request: Request) -> str:
    return (
        f"User: {who} is not authorized to perform: {request.action} on resource: {request.resource} "
        f"because no identity-based policy allows the {request.action} action"
    )
