"""EventBridge envelopes and AWS's two timestamp forms (facts 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.service import stable_uuid

if TYPE_CHECKING:
    from datetime import datetime

Event = dict[str, Any]


@dataclass(slots=True)
class World:
    """What all services of one account share: where and when they are, and the events nobody collected yet."""

    now: datetime
    region: str
    account_id: str
    events: list[Event] = field(default_factory=list)

    def arn(self, service: str, resource: str) -> str:
        """Of a resource in this account and Region."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def emit(self, source: str, detail_type: str, resources: list[str], detail: dict[str, Any]) -> None:
        """Queue one event; its ID follows from its content."""
        number = len(self.events)
        self.events.append(
            {
                "version": "0",
                "id": stable_uuid(source, detail_type, *resources, self.now, number),
                "detail-type": detail_type,
                "source": source,
                "account": self.account_id,
                "time": f"{self.now:%Y-%m-%dT%H:%M:%SZ}",
                "region": self.region,
                "resources": resources,
                "detail": detail,
            }
        )


def stamp(moment: datetime) -> str:
    """CloudWatch's form: milliseconds, and an offset without a colon."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.000+0000}"


def epoch_milliseconds(moment: datetime) -> float:
    """SageMaker's form."""
    return moment.timestamp() * 1000.0
