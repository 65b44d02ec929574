"""IAM policies, evaluated as AWS does, for calls that the simulator answers.

The emulator enforces roles for its own services, but its simulator of policies ignores condition values, and the rights
of Tidegate lean on conditions. What is not known here (an operator, NotAction) is an error, never a permission.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Context = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of an identity or resource policy."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]  # operator, key, values
    service: str | None = None  # the principal of a resource policy

    def covers(self, action: str, resource: str, context: Context) -> bool:
        """Whether it says anything of this request. IAM compares actions without regard to case."""
        return (
            any(_like(action.lower(), pattern.lower()) for pattern in self.actions)
            and any(_like(resource, pattern) for pattern in self.resources)
            and all(_holds(*condition, context) for condition in self.conditions)
        )


def allowed(policy: Iterable[Statement], action: str, resource: str, context: Context) -> bool:
    """Whether some statement allows and none denies."""
    speaking = [statement for statement in policy if statement.covers(action, resource, context)]
    return bool(speaking) and all(statement.allows for statement in speaking)


def statements(document: Mapping[str, Any]) -> Iterator[Statement]:
    """Read a policy document."""
    for item in _list(document["Statement"]):
        unknown = item.keys() - {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
        if unknown:
            raise NotImplementedError(f"IAM element {', '.join(sorted(unknown))} is not evaluated here")
        principal = item.get("Principal")
        yield Statement(
            allows=item["Effect"] == "Allow",
            actions=tuple(_list(item["Action"])),
            resources=tuple(_list(item.get("Resource", "*"))),
            conditions=tuple(
                (operator, key, tuple(_list(values)))
                for operator, keys in item.get("Condition", {}).items()
                for key, values in keys.items()
            ),
            service=principal.get("Service") if isinstance(principal, dict) else principal,
        )


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return list(value) if isinstance(value, list) else [value]


def _like(text: str, pattern: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}


def _holds(operator: str, key: str, wanted: tuple[str, ...], context: Context) -> bool:
    if operator not in OPERATORS:
        raise NotImplementedError(f"IAM condition operator {operator} is not evaluated here")
    return key in context and any(OPERATORS[operator](context[key], each) for each in wanted)


def role_policy(iam: Any, role: str) -> tuple[Statement, ...]:  # noqa: ANN401 - boto3's client; no stubs installed
    """Return everything the policies of a role say, attached and inline.

    Args:
        iam: boto3's `iam` client of the emulator.
        role: its name.
    """
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        documents.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
    return tuple(statement for document in documents for statement in statements(document))
