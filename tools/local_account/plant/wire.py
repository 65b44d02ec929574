"""AWS JSON 1.0 and 1.1 along botocore's shapes: from the bytes of a request to parameters, from an answer to bytes.

No client of ours speaks anything else: botocore puts JSON first whatever a service offers besides (CBOR and the query
protocol, for CloudWatch), in 1.43 and 1.44 and inside the AWS CLI alike.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from binascii import Error as BadBase64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, MapShape, StructureShape
from botocore.utils import parse_to_aware_datetime

from simulator.service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import OperationModel, ServiceModel, Shape

NOT_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""What JSON cannot write as a number."""


def parameters(body: bytes, encoding: str, operation: OperationModel) -> dict[str, Any]:
    """The request's parameters, as a boto3 caller would have written them.

    What does not fit its shape stays as it came: naming it is the service's business.

    Raises:
        ServiceError: the body is no JSON object.
    """
    try:
        plain = gzip.decompress(body) if encoding == "gzip" else body
        raw = json.loads(plain or b"{}")
    except (OSError, EOFError, ValueError) as error:
        raise ServiceError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ServiceError("SerializationException", "The body must be a JSON object")
    decoded = _decoded(raw, operation.input_shape) if operation.input_shape else raw
    return dict(decoded)


def _decoded(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - JSON
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        known = shape.members
        return {
            key: _decoded(item, known[key]) if key in known else item
            for key, item in value.items()
            if item is not None  # null is the same as left out
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_decoded(item, shape.member) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: _decoded(item, shape.value) for key, item in value.items()}
    try:
        return _scalar(value, shape.type_name)
    except (ValueError, OverflowError, OSError, BadBase64):
        return value


def _scalar(value: Any, kind: str) -> Any:  # noqa: ANN401 - JSON
    match kind, value:
        case "timestamp", bool():
            return value
        case "timestamp", int() | float():
            return datetime.fromtimestamp(value, UTC)
        case "timestamp", str():
            return parse_to_aware_datetime(value)
        case "blob", str():
            return base64.b64decode(value, validate=True)
        case "double" | "float", str():
            return NOT_NUMBERS.get(value, value)
        case _:
            return value


def answer(result: Mapping[str, Any], operation: OperationModel) -> bytes:
    """The response body.

    Raises:
        KeyError: the simulator answers with a field that AWS does not have.
    """
    shape = operation.output_shape
    if shape is None:
        return b"{}" if not result else _unexpected(operation, result)
    return json.dumps(_encoded(result, shape), separators=(",", ":")).encode()


def _unexpected(operation: OperationModel, result: Mapping[str, Any]) -> bytes:
    raise KeyError(f"{operation.name} answers nothing on AWS, but here {sorted(result)}")


def _encoded(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - JSON
    if isinstance(shape, StructureShape):
        known = shape.members
        if not value.keys() <= known.keys():
            raise KeyError(f"{shape.name} has no {', '.join(sorted(value.keys() - known.keys()))}")
        return {key: _encoded(item, known[key]) for key, item in value.items() if item is not None}
    if isinstance(shape, ListShape):
        return [_encoded(item, shape.member) for item in value]
    if isinstance(shape, MapShape):
        return {key: _encoded(item, shape.value) for key, item in value.items()}
    return _json_scalar(value)


def _json_scalar(value: object) -> object:
    match value:
        case datetime():
            seconds = value.timestamp()
            return int(seconds) if seconds.is_integer() else round(seconds, 3)
        case float() if not math.isfinite(value):
            return next(word for word, number in NOT_NUMBERS.items() if str(number) == str(value))
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def failure(error: ServiceError, model: ServiceModel) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and extra headers of an error.

    A service that once spoke the query protocol names the shape in the body and the old code in a header, which is
    what clients go by.
    """
    fitting = [shape for shape in model.error_shapes if _error_code(shape) == error.code]
    name, metadata = (fitting[0].name, fitting[0].metadata) if fitting else (error.code, {})
    internal = error.code.startswith("Internal")  # most models leave the status of these out
    status = metadata.get("error", {}).get("httpStatusCode", 500 if internal else 400)
    body = json.dumps({"__type": name, "message": error.message}).encode()
    spoke_query = model.metadata.get("awsQueryCompatible") is not None
    return status, body, ({"x-amzn-query-error": f"{error.code};Sender"} if spoke_query else {})


def _error_code(shape: Shape) -> str:
    return str(shape.metadata.get("error", {}).get("code", shape.name))
