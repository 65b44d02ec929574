"""EventBridge as the port `Events`: what becomes of overrides, on the account's default bus under source `tidegate`."""

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from core.aws.errors import writing
from core.errors import ActuationError
from core.model import Override, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_events import EventBridgeClient

_DETAILS = TypeAdapter(dict[str, str | Override | None])


class EventBus:
    """Puts events, each of which names the stack's stage; `client` returns the same one each time."""

    def __init__(self, client: "Callable[[], EventBridgeClient]", stage: str) -> None:
        self._client = client
        self._stage = stage

    def tell(self, what: Told, override: Override, now: datetime, by: str | None = None) -> None:
        detail = _DETAILS.dump_json({"stage": self._stage, "override": override, "superseded_by": by})
        with writing(f"PutEvents {what} {override.override_id}"):
            answer = self._client().put_events(
                Entries=[{"Source": "tidegate", "DetailType": what, "Detail": detail.decode(), "Time": now}]
            )
        if answer["FailedEntryCount"]:  # the call itself succeeds
            raise ActuationError(f"PutEvents {what} {override.override_id}: {answer['Entries']}")
