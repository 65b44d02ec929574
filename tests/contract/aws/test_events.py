"""EventBridge: what a rule of somebody else's gets to see of an override, and what a refusal means."""

import json
from datetime import UTC, datetime

import pytest

from core.aws.events import EventBus
from core.errors import ActuationError
from core.model import Told
from tests.builders import override
from tests.contract.aws.stubs import scripted

NOW = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)


def test_an_event_says_whose_it_is_and_carries_the_whole_override() -> None:
    detail = {
        "stage": "prod",
        "override": {
            "override_id": "profile-pin-6-1",
            "action": "pin",
            "scope": "profile",
            "subject": "p",
            "capacity": 6,
            "created_at": "2026-11-18T08:59:00Z",
            "expires_at": "2026-11-18T10:00:00Z",
            "reason": "campaign",
            "requested_by": "maria",
            "invocation": "",
            "told": None,
        },
        "superseded_by": "r-2",
    }
    entry = {
        "Source": "tidegate",
        "DetailType": "Tidegate Override Superseded",
        "Detail": json.dumps(detail, separators=(",", ":")),
        "Time": NOW,
    }
    with scripted("events") as (c, script):
        script.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}, {"Entries": [entry]})
        EventBus(lambda: c, "prod").tell(Told.SUPERSEDED, override("pin", 6, scope="profile"), NOW, by="r-2")


def test_an_entry_that_is_refused_inside_a_fine_answer_is_an_error() -> None:
    with scripted("events") as (c, script):
        entry = {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}
        script.add_response("put_events", {"FailedEntryCount": 1, "Entries": [entry]})
        with pytest.raises(ActuationError, match=r"Override Expired profile-pin-6-1.*InternalFailure"):
            EventBus(lambda: c, "prod").tell(Told.EXPIRED, override("pin", 6, scope="profile"), NOW)


def test_a_refused_call_is_an_error_that_names_the_override() -> None:
    with scripted("events") as (c, script):
        script.add_client_error("put_events", "AccessDeniedException", "no")
        with pytest.raises(
            ActuationError, match=r"^PutEvents Tidegate Override Created profile-pin-6-1: .*AccessDenied"
        ):
            EventBus(lambda: c, "prod").tell(Told.CREATED, override("pin", 6, scope="profile"), NOW)
