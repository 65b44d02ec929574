"""What every simulated AWS service shares: dispatch, request validation, paging, deterministic identifiers.

Transport is elsewhere (`transport.py` for in-process boto3 clients); `Service.call` is all a transport needs to know.
"""

from __future__ import annotations

import functools
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationNotFoundError, ServiceModel, Shape, StructureShape
from botocore.utils import parse_to_aware_datetime
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NAMESPACE = uuid.UUID("5d3b3c52-6a44-5b1e-9a0e-7d0c5b0f6a11")


class ServiceError(Exception):
    """An error as AWS answers it: a code that clients branch on, and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def stable_uuid(*parts: object) -> str:
    """The same parts always give the same UUID, so two runs can be compared line by line."""
    return str(uuid.uuid5(NAMESPACE, "|".join(map(str, parts))))


@functools.cache
def service_model(name: str) -> ServiceModel:
    """Botocore's model, read without a Session (which would read the environment's profile)."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


class Service:
    """One AWS service. An operation is a method of the same name in snake_case, from params to response.

    Set `name` (botocore's), `validation_code` (what the service calls a bad request) and `paging_error`.
    """

    name: ClassVar[str]
    validation_code: ClassVar[str] = "ValidationException"
    paging_error: ClassVar[str] = "ValidationException"

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Validate and answer one API call; raises ServiceError for everything AWS would refuse."""
        handler: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, xform_name(operation), None)
        try:
            shape = service_model(self.name).operation_model(operation).input_shape
        except OperationNotFoundError:
            handler = shape = None
        if handler is None:
            raise ServiceError("UnknownOperationException", f"{self.name} does not simulate {operation}")
        checked = dict(params)
        if shape is not None:
            report = ParamValidator().validate(checked, shape)
            if report.has_errors():
                raise ServiceError(self.validation_code, report.generate_report())
            checked = {key: with_datetimes(item, shape.members[key]) for key, item in checked.items()}
            if problems := constraint_violations(checked, shape):
                plural = "s" * (len(problems) > 1)
                text = f"{len(problems)} validation error{plural} detected: " + "; ".join(problems)
                raise ServiceError(self.validation_code, text)
        return handler(checked)

    def invalid(self, message: str) -> ServiceError:
        """The error this service answers to a bad request."""
        return ServiceError(self.validation_code, message)

    def page(self, items: Iterable[Any], params: Mapping[str, Any], spec: Page) -> tuple[list[Any], str | None]:
        """One page and the token of the next; the token only carries an offset."""
        size = params.get(spec.size_key, spec.default)
        if size > spec.maximum:
            raise self.invalid(
                f"1 validation error detected: {violation(size, spec.size_key, f'{AT_MOST} {spec.maximum}')}"
            )
        token = params.get(spec.cursor_key) or "offset-0"
        match = re.fullmatch(r"offset-(\d+)", token)
        if match is None:
            raise ServiceError(self.paging_error, f"Invalid {spec.cursor_key}: {token}")
        start = int(match[1])
        end = start + size
        found = list(islice(items, start, end + 1))
        return found[:size], (f"offset-{end}" if len(found) > size else None)


@dataclass(frozen=True, slots=True)
class Page:
    """How one operation pages: the largest page, the page size without a wish, and the parameter names."""

    maximum: int
    default: int
    size_key: str = "MaxResults"
    cursor_key: str = "NextToken"


AT_MOST = "Member must have value less than or equal to"


def violation(value: object, path: str, rule: str) -> str:
    """AWS's wording for one broken constraint; paths are lowerCamel."""
    where = ".".join(part[:1].lower() + part[1:] for part in path.split("."))
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {rule}"


def constraint_violations(value: object, shape: Shape, path: str = "") -> list[str]:
    """What botocore leaves to the server: maxima, patterns, enumerations."""
    members: list[tuple[object, Shape, str]] = []
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = [(value[key], shape.members[key], f"{path}.{key}".lstrip(".")) for key in value]
    elif isinstance(shape, ListShape) and isinstance(value, list | tuple):
        members = [(item, shape.member, f"{path}.{number}.member") for number, item in enumerate(value, 1)]
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        members = [(item, shape.value, f"{path}.{key}") for key, item in value.items()]
    found = [problem for item, member, where in members for problem in constraint_violations(item, member, where)]
    if path and (rule := _broken_rule(value, shape)):
        found.insert(0, violation(value, path, rule))
    return found


def _broken_rule(value: object, shape: Shape) -> str | None:
    constraints = shape.metadata
    maximum = constraints.get("max")
    if maximum is not None and isinstance(value, str | list | dict) and len(value) > maximum:
        return f"Member must have length less than or equal to {maximum}"
    if maximum is not None and isinstance(value, int | float) and value > maximum:
        return f"{AT_MOST} {maximum}"
    if isinstance(value, str):
        if (allowed := constraints.get("enum")) and value not in allowed:
            return f"Member must satisfy enum value set: [{', '.join(allowed)}]"
        if (pattern := constraints.get("pattern")) and not _compiled(pattern).fullmatch(value):
            return f"Member must satisfy regular expression pattern: {pattern}"
    return None


_CLASSES = {r"\p{Print}": r"[\x20-\x7e]", r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s"}
"""Java's classes of characters, and what is nearest to them in Python's dialect, alone or inside brackets."""


@functools.cache
def _compiled(java_pattern: str) -> re.Pattern[str]:
    """Java's dialect as Python's: surrogate pairs are single code points."""
    translated = java_pattern
    for java, python in _CLASSES.items():
        translated = translated.replace(java, python)
    return re.compile(translated.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF"))


def copied(value: Any) -> Any:  # noqa: ANN401 - whatever JSON and datetimes make up
    """The same request or answer in containers of its own: what `copy.deepcopy` does, five times as fast."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def with_datetimes(value: object, shape: Shape) -> object:
    """The same request with every timestamp an aware datetime; botocore also takes strings and numbers."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {key: with_datetimes(item, shape.members[key]) for key, item in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list | tuple):
        return [with_datetimes(item, shape.member) for item in value]
    if shape.type_name != "timestamp":
        return value
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return parse_to_aware_datetime(str(value))
