"""PolicyValidator refuses a broken policy document before AppConfig stores it: the old one stays in force."""

import base64
import json
from typing import Any

from core.errors import ConfigError, Problem
from core.policy import parse_fleet


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - Lambda passes a context to every handler
    """Check the document AppConfig sends; returning accepts it.

    Args:
        event: AppConfig's validator event; `content` is the document, base64.
        context: Lambda's context object.

    Raises:
        ConfigError: with every problem of the document.
    """
    try:
        document = json.loads(base64.b64decode(event["content"], validate=True))
    except (KeyError, TypeError, ValueError) as err:
        raise ConfigError([Problem(("content",), type(err).__name__, "must be base64 of a JSON document")]) from err
    parse_fleet(document)
