"""Rights as IAM sees them: what a function called, and what its role in `template.yaml` allows."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from simulator.stack import FALLBACK_ROLE

ROOT = Path(__file__).resolve().parents[1]
REGION, ACCOUNT, STAGE = "eu-central-1", "123456789012", "prod"
LAMBDAS_OWN = {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage"}
"""What Lambda does on the function's behalf: logging, and keeping what failed."""

SAGEMAKERS = {
    "EndpointConfigName": "endpoint-config",
    "InferenceComponentName": "inference-component",
    "EndpointName": "endpoint",
}
"""What a parameter names, by its name."""

IAM_PREFIX = {"resourcegroupstaggingapi": "tag", "appconfigdata": "appconfig"}
"""Where IAM calls a service otherwise than boto3 does."""


# ---- what is called -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Called:
    """One API call as IAM sees it; `on` is "*" where AWS knows no resources for the action."""

    function: str
    action: str
    on: str
    context: tuple[tuple[str, str], ...] = ()


def called(function: str, service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Called]:
    """Yield the call once for each resource it touches."""
    action = f"{IAM_PREFIX.get(service, service)}:{operation}"
    context: tuple[tuple[str, str], ...] = ()
    if service == "application-autoscaling" and not operation.startswith("Describe"):
        context = (
            ("application-autoscaling:service-namespace", params["ServiceNamespace"]),
            ("application-autoscaling:scalable-dimension", params["ScalableDimension"]),
        )
    if (service, operation) == ("events", "PutEvents"):
        context = tuple(("events:source", entry["Source"]) for entry in params["Entries"])
    if role := params.get("Target", {}).get("RoleArn"):
        yield Called(function, "iam:PassRole", role, (("iam:PassedToService", f"{service}.amazonaws.com"),))
    for resource in resources(service, operation, params):
        on = "*" if resource == "*" else f"arn:aws:{IAM_PREFIX.get(service, service)}:{REGION}:{ACCOUNT}:{resource}"
        yield Called(function, action, on, context)


def resources(service: str, operation: str, params: Mapping[str, Any]) -> list[str]:
    """Return what a call touches, without the ARN's head."""
    found = ["*"]
    match service, operation:
        case "application-autoscaling", name if not name.startswith("Describe"):
            found = ["scalable-target/0ec5a1b2c3d4"]  # an opaque ID that nobody can compute
        case "sagemaker", _:
            named = (f"{kind}/{params[key].lower()}" for key, kind in SAGEMAKERS.items() if key in params)
            found = [next(named, "*")]
        case "cloudwatch", "PutMetricAlarm":
            found = [f"alarm:{params['AlarmName']}"]
        case "cloudwatch", "DeleteAlarms":
            found = [f"alarm:{name}" for name in params["AlarmNames"]]
        case "dynamodb", _:
            tables = params["RequestItems"] if operation == "BatchGetItem" else [params["TableName"]]
            found = [f"table/{name}" for name in tables]
        case "scheduler", _:
            found = [f"schedule/{params.get('GroupName', 'default')}/{params['Name']}"]
        case "events", "PutEvents":
            found = ["event-bus/default"]
        case "appconfigdata", "StartConfigurationSession":
            ids = (params[f"{part}Identifier"] for part in ("Application", "Environment", "ConfigurationProfile"))
            found = ["application/{}/environment/{}/configuration/{}".format(*ids)]
        case "appconfigdata", _:
            found = [params["ConfigurationToken"].split("|")[0]]  # who makes tokens puts the resource into them
        case _:
            pass
    return found


# ---- what is allowed ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """One action of one statement of a role."""

    action: str
    on: tuple[str, ...]
    condition: tuple[tuple[str, tuple[str, ...]], ...]
    """Keys, and the values of which the call must have one."""

    def allows(self, call: Called) -> bool:
        return (
            self.action == call.action
            and any(fnmatchcase(call.on, pattern) for pattern in self.on)
            and all(dict(call.context).get(key) in wanted for key, wanted in self.condition)
        )


class Deployed:
    """The template as it is in one account, Region and stage; a resource's ID is its logical name."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._resources = template["Resources"]
        self._known = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "Stage": STAGE,
            "FallbackRole.Arn": FALLBACK_ROLE,
            "Table": f"tidegate-{STAGE}",
            "Table.Arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/tidegate-{STAGE}",
        }

    def value(self, value: Any) -> str:
        """Return what CloudFormation would put in place of `value`."""
        match value:
            case {"Ref": str(name)}:
                return self._known.get(name, name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._known.get(f"{name}.{attribute}", f"arn:aws:other:::{name}")
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: self._known.get(found[1], found[1]), text)
            case {"Fn::If": [str(), _, otherwise]}:  # the template's conditions hold for parameters that are set
                return self.value(otherwise)
            case str(text):
                return text
            case _:
                raise AssertionError(f"teach Deployed.value this: {value}")

    def variables(self, function: str) -> dict[str, str]:
        declared = self._resources[f"{function}Function"]["Properties"]["Environment"]["Variables"]
        return {name: self.value(value) for name, value in declared.items()}

    def grants(self, function: str) -> list[Grant]:
        role = self._resources[f"{function}Role"]["Properties"]
        attached = [self._resources[each["Ref"]]["Properties"] for each in role.get("ManagedPolicyArns", ())]
        statements = [s for policy in (*attached, *role["Policies"]) for s in policy["PolicyDocument"]["Statement"]]
        return [
            Grant(action, tuple(map(self.value, _list(statement["Resource"]))), self._condition(statement))
            for statement in statements
            for action in _list(statement["Action"])
        ]

    def _condition(self, statement: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        condition = statement.get("Condition", {})
        operators = {"StringEquals", "StringEqualsIfExists"}  # of the keys here AWS sends each
        assert set(condition) <= operators, "teach Grant.allows this operator"
        equals = [each for operator in operators for each in condition.get(operator, {}).items()]
        return tuple((key, tuple(map(self.value, _list(wanted)))) for key, wanted in equals)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def aas_uses() -> set[tuple[str, str]]:
    """Function and action of each right that AAS uses when we call it."""
    rights = json.loads((ROOT / "docs/aas-probe-rights.json").read_text(encoding="utf-8"))["rights"]
    return {(function, right["action"]) for right in rights for function in right["functions"]}


def refused(deployed: Deployed, calls: set[Called]) -> set[Called]:
    """Return those calls that the role of their function does not allow."""
    granted = {function: deployed.grants(function) for function in {call.function for call in calls}}
    return {call for call in calls if not any(grant.allows(call) for grant in granted[call.function])}


def unused(deployed: Deployed, function: str, calls: set[Called]) -> set[tuple[str, ...]]:
    """Return action and resources of each right of a function that none of these calls needs, nor AAS on its behalf."""
    own = [call for call in calls if call.function == function]
    return {
        (grant.action, *grant.on)
        for grant in deployed.grants(function)
        if grant.action not in LAMBDAS_OWN
        and (function, grant.action) not in aas_uses()
        and not any(grant.allows(call) for call in own)
    }
