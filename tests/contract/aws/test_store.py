"""One contract for every store: the table in DynamoDB and the dictionaries of demo and tests behave alike."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import pytest

from cli.decisions import newest_of, recorded_since
from core.aws.store import Table
from core.context import CONTEXTS, DECISIONS, Context, Decision, Enrolment
from core.errors import ObservationError
from core.model import (
    Capacity,
    Envelope,
    Learned,
    Memory,
    Missing,
    Observation,
    Override,
    OverrideAction,
    Point,
    Reason,
    ScalableTarget,
    Scope,
    Signal,
    Step,
    Told,
    Tracking,
)
from core.policy import parse_fleet
from core.ports import NativePolicy, Original, Place, ScheduledAction, StateStore
from simulator.in_memory import InMemoryStore
from tests import tables
from tests.contract.aws.stubs import scripted

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Key = dict[str, AttributeValueTypeDef]

NOW = datetime(2026, 11, 22, 12, 0, 30, 250_000, tzinfo=UTC)
SOON = NOW + timedelta(seconds=50)
LATER = NOW + timedelta(minutes=5)
ORDERS = ScalableTarget.variant("orders", "AllTraffic")
OCR = ScalableTarget.variant("doc-ocr", "blue")
CHAT = ScalableTarget.component("chat-8b")
STATE_KEY: "Key" = {
    "pk": {"S": f"TARGET#{ORDERS.resource_id}#{ORDERS.dimension.value}"},
    "sk": {"S": "STATE"},
}
WEB, NIGHTLY = (Place(profile, by_tag=False, endpoint="orders") for profile in ("web", "nightly"))
PROFILE = parse_fleet(
    {
        "version": 1,
        "profiles": {
            "web": {
                "kind": "realtime",
                "min_capacity": 2,
                "max_capacity": 12,
                "objectives": {"requests_per_instance": 900},
            }
        },
    }
).profiles["web"]
FITTED = Learned(
    fitted_at=NOW.replace(second=0, microsecond=0),
    peak=1234.5,
    lines=((0.25, -1.5, 3e-9), (0.0, 1.0, 2.0)),
    first=NOW.replace(second=0, microsecond=0),
    season=((1, 2, 3), (-4, 5, 600)),
    errors={0: (((-20, 0, 31),),), 23: (((1, 2, 3),),)},
)
USUAL = Memory(
    first_seen_at=NOW - timedelta(days=40),
    enrolled=True,
    demand_floor=4,
    demand_at=NOW,
    written=Envelope(4, 12),
    written_at=NOW,
    decided=Envelope(4, 12),
    expires_at=NOW + timedelta(hours=1),
    scale_out_alarms=("*High-0f3c1a52-55cf-4a64-b1b5-7f6d0f6a1c11",),
    tracking=(Tracking(name="track-requests_per_instance", low="*Low-0f3c1a52-55cf-4a64-b1b5-7f6d0f6a1c12"),),
    ready=4,
    ready_since=NOW,
    reason=Reason.LOAD,
)


@pytest.fixture
def dynamodb(moto: boto3.Session) -> "DynamoDBClient":
    client = moto.client("dynamodb")
    tables.create(client)
    return client


@pytest.fixture(params=["in memory", "table"])
def store(request: pytest.FixtureRequest) -> StateStore:
    if request.param == "in memory":
        return InMemoryStore()
    return Table(request.getfixturevalue("dynamodb"), "tidegate")


def memory_of(store: StateStore, target: ScalableTarget = ORDERS) -> Memory:
    return store.memories([target])[target]


def an_override(name: str = "req-1", *, minutes: float = 60, made: datetime = NOW) -> Override:
    return Override(
        override_id=name,
        action=OverrideAction.FLOOR,
        scope=Scope.TARGET,
        subject=ORDERS.resource_id,
        capacity=6,
        created_at=made,
        expires_at=NOW + timedelta(minutes=minutes),
        reason="launch day",
        requested_by="ada",
    )


class TestMemory:
    def test_an_unknown_target_has_an_empty_memory(self, store: StateStore) -> None:
        assert store.memories([ORDERS, OCR]) == {ORDERS: Memory(), OCR: Memory()}

    def test_no_targets_no_memories(self, store: StateStore) -> None:
        assert store.memories([]) == {}

    def test_what_is_recorded_is_read_again_one_version_later(self, store: StateStore) -> None:
        assert store.record(ORDERS, USUAL, "me", NOW)
        assert memory_of(store) == replace(USUAL, version=1)
        assert memory_of(store, OCR) == Memory()

    def test_more_targets_than_one_call_takes(self, store: StateStore) -> None:
        targets = [ScalableTarget.variant(f"endpoint-{n}", "AllTraffic") for n in range(101)]
        for target in targets:
            store.record(target, USUAL, "me", NOW)
        assert set(store.memories([*targets, targets[0]]).values()) == {replace(USUAL, version=1)}

    def test_only_one_of_two_passes_that_saw_the_same_state_writes(self, store: StateStore) -> None:
        assert store.record(ORDERS, USUAL, "me", NOW)
        assert not store.record(ORDERS, replace(USUAL, demand_floor=9), "you", NOW)
        assert memory_of(store).demand_floor == 4

    def test_a_forgotten_target_starts_anew(self, store: StateStore) -> None:
        store.record(ORDERS, USUAL, "me", NOW)
        store.put_learned(ORDERS, FITTED)
        store.put_original(ORDERS, Original(envelope=Envelope(1, 4)))
        store.put_roster({ORDERS: WEB, CHAT: WEB})
        store.forget(ORDERS)
        assert memory_of(store) == Memory()
        assert store.original(ORDERS) is None
        assert store.learned([ORDERS]) == {}
        assert store.roster() == {CHAT: WEB}

    def test_forgetting_the_unknown_is_fine(self, store: StateStore) -> None:
        store.forget(ORDERS)
        assert memory_of(store) == Memory()


LEASES: list[tuple[str, str, datetime, bool]] = [
    ("somebody else holds it", "you", NOW, False),
    ("its own holder asks again", "me", NOW, True),
    ("a moment before it ends", "you", SOON - timedelta(milliseconds=1), False),
    ("the moment it ends", "you", SOON, True),
    ("long after its holder died", "you", LATER, True),
]


class TestLease:
    @pytest.mark.parametrize(("_when", "holder", "at", "got"), LEASES, ids=[case[0] for case in LEASES])
    def test_claiming_a_held_lease(
        self, store: StateStore, _when: str, holder: str, at: datetime, *, got: bool
    ) -> None:
        assert store.claim(ORDERS, 0, "me", NOW, SOON)
        assert store.claim(ORDERS, 0, holder, at, LATER) is got

    @pytest.mark.parametrize(("_when", "holder", "at", "got"), LEASES, ids=[case[0] for case in LEASES])
    def test_recording_under_a_held_lease(
        self, store: StateStore, _when: str, holder: str, at: datetime, *, got: bool
    ) -> None:
        store.claim(ORDERS, 0, "me", NOW, SOON)
        assert store.record(ORDERS, USUAL, holder, at) is got
        assert (memory_of(store).version == 1) is got

    def test_recording_gives_the_lease_up(self, store: StateStore) -> None:
        store.claim(ORDERS, 0, "me", NOW, SOON)
        store.record(ORDERS, USUAL, "me", NOW)
        assert store.claim(ORDERS, 1, "you", NOW, SOON)

    @pytest.mark.parametrize("version", [0, 2])
    def test_a_claim_on_another_version_than_read_is_refused(self, store: StateStore, version: int) -> None:
        store.record(ORDERS, USUAL, "me", NOW)
        assert not store.claim(ORDERS, version, "you", NOW, SOON)
        assert store.claim(ORDERS, 1, "you", NOW, SOON)

    def test_a_claim_on_a_target_whose_state_was_lost_is_refused(self, store: StateStore) -> None:
        assert not store.claim(ORDERS, 7, "me", NOW, SOON)

    def test_a_claim_leaves_the_memory_as_it_is(self, store: StateStore) -> None:
        store.record(ORDERS, USUAL, "me", NOW)
        store.claim(ORDERS, 1, "me", NOW, SOON)
        assert memory_of(store) == replace(USUAL, version=1)


class TestOverrides:
    def test_one_call_finds_those_of_every_scope(self, store: StateStore) -> None:
        assert store.overrides() == ()
        wide = replace(an_override("all"), scope=Scope.FLEET, subject="", capacity=None, action=OverrideAction.PAUSE)
        for override in (an_override(), wide):
            assert store.put_override(override) is None
        assert {o.override_id: o for o in store.overrides()} == {"req-1": an_override(), "all": wide}

    def test_what_stands_under_an_id_stays(self, store: StateStore) -> None:
        store.put_override(an_override("other"))
        store.put_override(an_override())
        assert store.put_override(replace(an_override(minutes=90), capacity=99)) == an_override()
        assert an_override() in store.overrides()

    def test_an_id_may_be_used_again_a_day_after_its_override_ended(self, store: StateStore) -> None:
        """Nightly jobs send the same event, and DynamoDB sweeps days late: it was answered as known, and nothing held."""
        store.put_override(an_override())
        ended = NOW + timedelta(hours=1)
        early, late = (
            an_override(made=ended + timedelta(days=1) + off) for off in (-timedelta(minutes=1), timedelta(minutes=1))
        )
        assert store.put_override(early) == an_override()
        assert store.put_override(late) is None
        assert store.overrides() == (late,)

    def test_it_can_come_before_the_first_pass_and_while_one_runs(self, store: StateStore) -> None:
        store.put_override(an_override("early"))
        assert store.claim(ORDERS, 0, "me", NOW, SOON)
        store.put_override(an_override("late"))
        assert store.record(ORDERS, USUAL, "me", NOW)
        assert {o.override_id for o in store.overrides()} == {"early", "late"}

    def test_what_was_told_is_written_down(self, store: StateStore) -> None:
        store.put_override(an_override())
        store.tell_override(replace(an_override(), told=Told.ENDING_SOON))
        assert [o.told for o in store.overrides()] == [Told.ENDING_SOON]

    def test_more_than_one_page_holds(self, store: StateStore) -> None:
        wordy = replace(an_override(), reason="x" * 100_000)
        for n in range(12):  # DynamoDB's pages end at 1 MB
            store.put_override(replace(wordy, override_id=f"{n}"))
        assert len(store.overrides()) == 12


class TestRoster:
    def test_a_lost_table_is_not_an_empty_fleet(self, store: StateStore) -> None:
        assert store.roster() is None
        store.put_roster({})
        assert store.roster() == {}

    def test_it_is_replaced_as_a_whole(self, store: StateStore) -> None:
        roster = {ORDERS: WEB, OCR: Place("async", by_tag=True, endpoint="doc-ocr", tags={"team": "x"}), CHAT: WEB}
        store.put_roster(roster)
        assert store.roster() == roster
        store.put_roster({CHAT: NIGHTLY})
        assert store.roster() == {CHAT: NIGHTLY}

    def test_a_large_fleet(self, store: StateStore) -> None:
        fleet = {
            ScalableTarget.variant(f"endpoint-{n}", "AllTraffic"): Place("web", by_tag=False, endpoint=f"endpoint-{n}")
            for n in range(60)
        }
        store.put_roster(fleet)
        assert len(store.roster() or ()) == 60
        store.put_roster(dict([*fleet.items()][:1]))
        assert len(store.roster() or ()) == 1


class TestOriginal:
    ORIGINAL = Original(
        envelope=Envelope(1, 4),
        policies=(
            NativePolicy("cpu", "StepScaling", {"Cooldown": 300, "StepAdjustments": [{"ScalingAdjustment": 1}]}),
        ),
        scheduled_actions=(
            ScheduledAction("night", {"Schedule": "cron(0 1 * * ? *)", "StartTime": NOW, "EndTime": LATER}),
        ),
    )

    def test_nothing_was_saved(self, store: StateStore) -> None:
        assert store.original(ORDERS) is None

    def test_the_newest_is_saved(self, store: StateStore) -> None:
        store.put_original(ORDERS, Original(envelope=None))
        store.put_original(ORDERS, self.ORIGINAL)
        assert store.original(ORDERS) == self.ORIGINAL

    def test_an_unregistered_target_and_a_lost_record_are_told_apart(self, store: StateStore) -> None:
        store.put_original(ORDERS, Original(envelope=None))
        store.put_original(OCR, Original(envelope=None, known=False))
        assert [store.original(ORDERS), store.original(OCR)] == [
            Original(envelope=None),
            Original(envelope=None, known=False),
        ]


class TestLearned:
    def test_nothing_was_learned(self, store: StateStore) -> None:
        assert store.learned([ORDERS]) == {}
        assert store.learned([]) == {}

    def test_a_fit_takes_the_place_of_the_one_before(self, store: StateStore) -> None:
        store.put_learned(ORDERS, replace(FITTED, peak=1.0))
        store.put_learned(ORDERS, FITTED)
        assert store.learned([ORDERS, OCR]) == {ORDERS: FITTED}


def a_decision(points: int = 15) -> Decision:
    seen = Observation(tuple(Point(NOW - timedelta(minutes=points - n), 1234.5678 + n) for n in range(points)))
    context = Context(
        now=NOW,
        enrolment=Enrolment(target=ORDERS, profile_name="web", profile=PROFILE),
        capacity=Capacity(4, 4, "InService"),
        registered=Envelope(2, 12),
        signals={Signal.REQUESTS: seen, Signal.BACKLOG: Missing("no data")},
        scaling_out=False,
        memory=USUAL,
        overrides=(an_override(),),
    )
    before, after = Envelope(2, 12), Envelope(6, 12)
    steps = tuple(
        Step(rule=rule, reason=Reason.LOAD, before=before, after=after, seen={"load": 1234.5678}, valid_until=LATER)
        for rule in ("demand", "stabilize", "unknown", "windows", "override", "bounds")
    )
    return Decision(
        context=context,
        envelope=after,
        steps=steps,
        desired=6,
        scale_in_to=None,
        target_factor=1.0,
        paused=False,
        valid_until=LATER,
    )


def test_memory_keeps_decisions_in_order() -> None:
    store = InMemoryStore()
    store.put_decision(a_decision(), "applied")
    store.put_decision(a_decision(3), "TargetBusyError")
    assert store.decisions == [(a_decision(), "applied"), (a_decision(3), "TargetBusyError")]


class TestTableItems:
    """What only the table has: sizes, times to live, and releases that meet each other's items."""

    @pytest.fixture
    def item(self, dynamodb: "DynamoDBClient") -> Callable[[str], dict[str, Any]]:
        def read(sk: str) -> dict[str, Any]:
            items: list[dict[str, Any]] = [*map(dict, dynamodb.scan(TableName="tidegate")["Items"])]
            return next(item for item in items if item["sk"]["S"].startswith(sk))

        return read

    def test_a_usual_state_is_at_most_1_kb(
        self, dynamodb: "DynamoDBClient", item: Callable[[str], dict[str, Any]]
    ) -> None:
        table = Table(dynamodb, "tidegate")
        table.record(ORDERS, USUAL, "me", NOW)
        table.claim(ORDERS, 1, "8476a536-e9f4-11e8-9739-2dfe598c3fcd", NOW, SOON)
        assert len(str(item("STATE"))) <= 1024

    def test_a_decision_over_15_minutes_is_at_most_4_kb_and_can_be_replayed(
        self, dynamodb: "DynamoDBClient", item: Callable[[str], dict[str, Any]]
    ) -> None:
        Table(dynamodb, "tidegate").put_decision(a_decision(), "applied")
        kept = item("DECISION#2026-11-22T12:00:30.250+00:00")
        seen = zlib.decompress(kept["context"]["B"])
        assert len(str({**kept, "context": ""})) + len(kept["context"]["B"]) <= 4 * 1024
        assert CONTEXTS.validate_json(seen) == a_decision().context
        again = {**json.loads(kept["decision"]["S"]), "context": json.loads(seen)}
        assert DECISIONS.validate_json(json.dumps(again)) == a_decision()
        assert (kept["reason"], kept["outcome"]) == ({"S": "Load"}, {"S": "applied"})
        assert int(kept["expires_at"]["N"]) == int((NOW + timedelta(days=90)).timestamp()) + 1

    def test_decisions_of_one_millisecond_are_kept_beside_each_other_the_one_that_knew_more_last(
        self, dynamodb: "DynamoDBClient"
    ) -> None:
        first, other = a_decision(), a_decision(3)
        later = replace(first, context=replace(first.context, memory=replace(USUAL, version=USUAL.version + 1)))
        for decision, outcome in ((later, "paused"), (first, "changed"), (other, "shadow"), (first, "changed")):
            Table(dynamodb, "tidegate").put_decision(decision, outcome)
        kept = recorded_since(dynamodb, "tidegate", ORDERS, NOW)
        assert sorted(each.outcome for each in kept) == ["changed", "paused", "shadow"]
        newest = newest_of(dynamodb, "tidegate", ORDERS.resource_id, NOW)
        assert newest is not None
        assert (newest.outcome, kept[-1].outcome) == ("paused", "paused")
        assert newest.name == "endpoint/orders/variant/AllTraffic@2026-11-22T12:00:30.250+00:00"
        assert newest_of(dynamodb, "tidegate", ORDERS.resource_id, NOW - timedelta(milliseconds=1)) is None

    def test_an_override_may_be_swept_a_day_after_its_expiry(
        self, dynamodb: "DynamoDBClient", item: Callable[[str], dict[str, Any]]
    ) -> None:
        Table(dynamodb, "tidegate").put_override(an_override())
        day = timedelta(days=1).total_seconds()
        assert int(item("req-1")["expires_at"]["N"]) >= an_override().expires_at.timestamp() + day

    @pytest.mark.parametrize(
        "unreadable",
        [
            pytest.param({"B": zlib.compress(b'{"demand_floor": "four"}')}, id="a field of another type"),
            pytest.param({"B": b"four"}, id="not compressed"),
            pytest.param({"M": {"demand_floor": {"N": "4"}}}, id="an attribute of another type"),
        ],
    )
    def test_a_memory_that_cannot_be_read_is_lost_but_its_version_is_not(
        self, dynamodb: "DynamoDBClient", unreadable: "AttributeValueTypeDef"
    ) -> None:
        table = Table(dynamodb, "tidegate")
        table.record(ORDERS, USUAL, "me", NOW)
        dynamodb.update_item(
            TableName="tidegate",
            Key=STATE_KEY,
            UpdateExpression="SET body = :other",
            ExpressionAttributeValues={":other": unreadable},
        )
        assert memory_of(table) == Memory(version=1)

    def test_the_memory_of_a_release_that_did_not_compress_is_read_and_replaced_and_read_again_after_going_back(
        self, dynamodb: "DynamoDBClient", item: Callable[[str], dict[str, Any]]
    ) -> None:
        """The release before memories were compressed wrote JSON as `memory`, and reads it as `item["memory"]["S"]` if it is there."""
        table = Table(dynamodb, "tidegate")

        def written_by_the_release_before(demand_floor: int) -> None:
            json_of_memory = json.dumps({"enrolled": True, "demand_floor": demand_floor})
            dynamodb.update_item(
                TableName="tidegate",
                Key=STATE_KEY,
                UpdateExpression="SET version = if_not_exists(version, :none) + :one, memory = :memory",
                ExpressionAttributeValues={
                    ":none": {"N": "0"},
                    ":one": {"N": "1"},
                    ":memory": {"S": json_of_memory},
                },
            )

        written_by_the_release_before(4)
        assert memory_of(table) == Memory(version=1, enrolled=True, demand_floor=4)  # the stack was updated
        assert table.record(ORDERS, replace(memory_of(table), demand_floor=5), "me", NOW)
        assert memory_of(table) == Memory(version=2, enrolled=True, demand_floor=5)
        assert "memory" not in item("STATE")  # going back it is lost, which lowers nothing; bytes ended every pass
        written_by_the_release_before(6)
        assert memory_of(table) == Memory(version=3, enrolled=True, demand_floor=6)  # updated again: 6 is newer than 5

    def test_an_override_that_cannot_be_read_is_named_and_none_is_taken_for_it(
        self, dynamodb: "DynamoDBClient"
    ) -> None:
        table = Table(dynamodb, "tidegate")
        table.put_override(an_override())
        other = an_override("of-tomorrow")
        table.put_override(other)
        dynamodb.update_item(
            TableName="tidegate",
            Key={"pk": {"S": "OVERRIDES"}, "sk": {"S": "of-tomorrow"}},
            UpdateExpression="SET body = :other",
            ExpressionAttributeValues={":other": {"S": '{"action": "surge"}'}},
        )
        with pytest.raises(ObservationError, match=r"override of-tomorrow .* is not one that this release can read"):
            table.overrides()


class TestLeftOvers:
    """DynamoDB may answer a part of a batch and hand the rest back."""

    KEY: ClassVar[dict[str, Any]] = {
        "pk": {"S": f"TARGET#{ORDERS.resource_id}#{ORDERS.dimension.value}"},
        "sk": {"S": "STATE"},
    }
    LEFT: ClassVar[dict[str, Any]] = {
        "Responses": {},
        "UnprocessedKeys": {"t": {"Keys": [KEY], "ConsistentRead": True}},
    }

    def test_keys_left_over_are_asked_for_again(self) -> None:
        with scripted("dynamodb") as (client, script):
            script.add_response("batch_get_item", self.LEFT)
            script.add_response(
                "batch_get_item",
                {"Responses": {"t": [{**self.KEY, "version": {"N": "3"}}]}},
                {"RequestItems": self.LEFT["UnprocessedKeys"]},
            )
            assert memory_of(Table(client, "t")) == Memory(version=3)

    def test_a_memory_that_could_not_be_read_is_not_an_empty_one(self) -> None:
        with scripted("dynamodb") as (client, script):
            for _ in range(5):
                script.add_response("batch_get_item", self.LEFT)
            with pytest.raises(ObservationError, match="left keys over"):
                Table(client, "t").memories([ORDERS])
