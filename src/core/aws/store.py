"""The table as the port `StateStore`, which says what each method does.

One DynamoDB table, keys `pk` and `sk`, time to live in `expires_at`:

```text
TARGET#<resource id>#<dimension>   STATE                version, lease_until, lease_holder, body: the memory
                                   ORIGINAL             body
                                   LEARNED              body: the newest fit, compressed: reads of 4 kB are paid
                                   DECISION#<time>#<memory's version>-<sum of the context>   decision, context, ...
FLEET                              ROSTER#<resource id>#<dimension>   resource_id, dimension, profile, by_tag, ...
                                   SYNCED               nothing: that it is there says that the roster is whole
OVERRIDES                          <id>                 body, expires_at
POLICY                             COPY                 body: the last good document, compressed: an item holds 400 kB
```

Memories and contexts are compressed too: writes of 1 kB are paid. What changes its type takes another attribute's name:
the release before, deployed again, must find it lost. Only one that went back leaves a `memory`, newer than the `body`.

Overrides of every scope are one partition, so that a pass reads all of them in one call. DynamoDB removes expired items
days late, so expiry is checked on read. Times come from the caller, never from a clock.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import TypeAdapter, ValidationError

from core.aws.errors import code_of, listed, reading, writing
from core.batches import batches
from core.context import CONTEXTS, DECISIONS, Decision
from core.errors import ObservationError
from core.model import Dimension, Learned, Memory, Override, ScalableTarget
from core.overrides import OVERRIDES_KEPT
from core.ports import Original, Place, ScheduledAction

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, KeysAndAttributesUnionTypeDef

    Item = Mapping[str, AttributeValueTypeDef]
    Key = dict[str, AttributeValueTypeDef]

DECISIONS_KEPT = timedelta(days=90)
READS_A_CALL = 100
ROUNDS = 5
"""How often keys that a batch read left over are asked for again, each time with botocore's own retries inside."""

_MEMORIES = TypeAdapter(Memory)
_OVERRIDES = TypeAdapter(Override)
_ORIGINALS = TypeAdapter(Original)
_LEARNED = TypeAdapter(Learned)

_COPY = ("POLICY", "COPY")
_FREE_OR_MINE = "(attribute_not_exists(lease_until) OR lease_until <= :now OR lease_holder = :holder)"


class Table:
    """What is remembered of each target, in the table of this name."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def memories(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Memory]:
        items = self._items({(_pk(target), "STATE") for target in targets}, f"memory of {len(targets)} targets")
        return {target: _memory(items.get((_pk(target), "STATE"), {})) for target in targets}

    def overrides(self) -> tuple[Override, ...]:
        return tuple(map(_override, self._partition("OVERRIDES")))

    def put_override(self, override: Override) -> Override | None:
        now = str(int(override.created_at.timestamp()))
        stored = _allowed(
            f"PutItem OVERRIDES {override.override_id}",
            lambda: self._client.put_item(
                TableName=self._name,
                Item=_override_item(override),
                ConditionExpression="attribute_not_exists(pk) OR expires_at < :now",  # it is swept days after that
                ExpressionAttributeValues={":now": {"N": now}},
            ),
        )
        if stored:
            return None
        return next(each for each in self.overrides() if each.override_id == override.override_id)

    def tell_override(self, override: Override) -> None:
        self._put(_override_item(override))

    def claim(self, target: ScalableTarget, version: int, holder: str, now: datetime, until: datetime) -> bool:
        wanted = "SET lease_until = :until, lease_holder = :holder"
        return self._write_state(target, wanted, {":until": {"N": _milliseconds(until)}}, version, holder, now)

    def record(self, target: ScalableTarget, memory: Memory, holder: str, now: datetime) -> bool:
        body = _MEMORIES.dump_json(memory, exclude={"version"}, exclude_defaults=True)
        wanted = "SET version = :next, body = :body REMOVE lease_until, lease_holder, memory"
        values: Item = {":next": {"N": str(memory.version + 1)}, ":body": {"B": zlib.compress(body)}}
        return self._write_state(target, wanted, values, memory.version, holder, now)

    def forget(self, target: ScalableTarget) -> None:
        for sk in ("STATE", "ORIGINAL", "LEARNED"):
            self._delete(_pk(target), sk)
        self._delete("FLEET", _roster_sk(target))

    def put_decision(self, decision: Decision, outcome: str) -> None:
        context, seen = decision.context, CONTEXTS.dump_json(decision.context)
        at = context.now.astimezone(UTC).isoformat(timespec="milliseconds")
        item: Item = {
            **_key(_pk(context.target), f"DECISION#{at}#{context.memory.version:06}-{zlib.crc32(seen):08x}"),
            "context": {"B": zlib.compress(seen)},
            "decision": {"S": DECISIONS.dump_json(decision, exclude={"context"}).decode()},
            "reason": {"S": decision.reason.value},
            "outcome": {"S": outcome},
            "expires_at": {"N": str(ceil((context.now + DECISIONS_KEPT).timestamp()))},
        }
        self._put(item)

    def learned(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Learned]:
        items = self._items({(_pk(target), "LEARNED") for target in targets}, f"fits of {len(targets)} targets")
        found = {}
        for target in targets:
            if item := items.get((_pk(target), "LEARNED")):
                with suppress(ValidationError, KeyError, zlib.error):  # another release may have written it
                    found[target] = _LEARNED.validate_json(zlib.decompress(item["body"]["B"]))
        return found

    def put_learned(self, target: ScalableTarget, learned: Learned) -> None:
        self._put({**_key(_pk(target), "LEARNED"), "body": {"B": zlib.compress(_LEARNED.dump_json(learned))}})

    def roster(self) -> Mapping[ScalableTarget, Place] | None:
        rows: dict[ScalableTarget, Place] = {}
        synced = False
        for item in self._partition("FLEET"):
            if _text(item, "sk") == "SYNCED":
                synced = True
            else:
                target = ScalableTarget(_text(item, "resource_id"), Dimension(_text(item, "dimension")))
                endpoint = target.names.get("EndpointName") or _text(item, "endpoint")
                tags = {key: value["S"] for key, value in item.get("tags", {"M": {}})["M"].items()}
                rows[target] = Place(_text(item, "profile"), item["by_tag"]["BOOL"], endpoint, tags)
        return rows if synced else None

    def put_roster(self, roster: Mapping[ScalableTarget, Place]) -> None:
        """Replace the roster; only what differs is written, and the marker last."""
        before = self.roster()
        for target in before or ():
            if target not in roster:
                self._delete("FLEET", _roster_sk(target))
        for target, place in roster.items():
            if before is None or before.get(target) != place:
                self._put(
                    {
                        **_key("FLEET", _roster_sk(target)),
                        "resource_id": {"S": target.resource_id},
                        "dimension": {"S": target.dimension.value},
                        "profile": {"S": place.profile},
                        "by_tag": {"BOOL": place.by_tag},
                        "endpoint": {"S": place.endpoint},
                        "tags": {"M": {key: {"S": value} for key, value in place.tags.items()}},
                    }
                )
        if before is None:
            self._put(_key("FLEET", "SYNCED"))

    def original(self, target: ScalableTarget) -> Original | None:
        key = (_pk(target), "ORIGINAL")
        item = self._items({key}, f"original of {target.resource_id}").get(key)
        return _original(_text(item, "body")) if item else None

    def put_original(self, target: ScalableTarget, original: Original) -> None:
        self._put({**_key(_pk(target), "ORIGINAL"), "body": {"S": _ORIGINALS.dump_json(original).decode()}})

    def policy_copy(self) -> bytes | None:
        item = self._items({_COPY}, "copy of the policy document").get(_COPY)
        return zlib.decompress(item["body"]["B"]) if item else None

    def put_policy_copy(self, content: bytes) -> None:
        self._put({**_key(*_COPY), "body": {"B": zlib.compress(content)}})

    def _items(self, keys: Iterable[tuple[str, str]], what: str) -> dict[tuple[str, str], "Item"]:
        """Return those items that exist, read consistently."""
        found: dict[tuple[str, str], Item] = {}
        for batch in batches(sorted(keys), READS_A_CALL):
            left: Mapping[str, KeysAndAttributesUnionTypeDef] = {
                self._name: {"Keys": [_key(*key) for key in batch], "ConsistentRead": True}
            }
            for _ in range(ROUNDS):
                with reading(f"BatchGetItem {what}"):
                    answer = self._client.batch_get_item(RequestItems=left)
                items = answer["Responses"].get(self._name, [])
                found |= {(_text(item, "pk"), _text(item, "sk")): item for item in items}
                left = answer.get("UnprocessedKeys", {})
                if not left:
                    break
            else:
                raise ObservationError(f"BatchGetItem {what}: DynamoDB left keys over {ROUNDS} times")
        return found

    def _partition(self, pk: str) -> list["Item"]:
        """Return every item of a partition, read consistently."""
        asked = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": pk}}}
        what = f"Query of {pk}"
        return listed(self._client, "query", "Items", what, TableName=self._name, ConsistentRead=True, **asked)

    def _put(self, item: "Item") -> None:
        with writing(f"PutItem {_text(item, 'pk')} {_text(item, 'sk')}"):
            self._client.put_item(TableName=self._name, Item=item)

    def _delete(self, pk: str, sk: str) -> None:
        with writing(f"DeleteItem {pk} {sk}"):
            self._client.delete_item(TableName=self._name, Key=_key(pk, sk))

    def _write_state(  # noqa: PLR0913, PLR0917 - what both conditions compare with
        self, target: ScalableTarget, wanted: str, values: "Item", version: int, holder: str, now: datetime
    ) -> bool:
        """Change the STATE item if version and lease allow it."""
        unchanged = "version = :version" if version else "(attribute_not_exists(version) OR version = :version)"
        compared: Item = {":version": {"N": str(version)}, ":holder": {"S": holder}, ":now": {"N": _milliseconds(now)}}
        return _allowed(
            f"UpdateItem state of {target.resource_id}",
            lambda: self._client.update_item(
                TableName=self._name,
                Key=_key(_pk(target), "STATE"),
                UpdateExpression=wanted,
                ConditionExpression=f"{unchanged} AND {_FREE_OR_MINE}",
                ExpressionAttributeValues={**compared, **values},
            ),
        )


def _allowed(what: str, write: Callable[[], object]) -> bool:
    """Write, and return whether the condition allowed it; `what` names operation and subject."""
    with writing(what):
        try:
            write()
        except ClientError as err:
            if code_of(err) == "ConditionalCheckFailedException":
                return False
            raise
    return True


def _pk(target: ScalableTarget) -> str:
    return f"TARGET#{target.resource_id}#{target.dimension.value}"


def _roster_sk(target: ScalableTarget) -> str:
    return f"ROSTER#{target.resource_id}#{target.dimension.value}"


def _key(pk: str, sk: str) -> "Key":
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _override(item: "Item") -> Override:
    try:
        return _OVERRIDES.validate_json(_text(item, "body"))
    except ValidationError as err:
        what = f"override {_text(item, 'sk')} in the table is not one that this release can read"
        raise ObservationError(
            f"{what}: deploy the one that wrote it, or delete the item ({err.errors()[0]['msg']})"
        ) from err


def _override_item(override: Override) -> "Item":
    return {
        **_key("OVERRIDES", override.override_id),
        "body": {"S": _OVERRIDES.dump_json(override).decode()},
        "expires_at": {"N": str(ceil((override.expires_at + OVERRIDES_KEPT).timestamp()))},
    }


def _milliseconds(at: datetime) -> str:
    """Return a time as DynamoDB compares it: a number."""
    return str(int(at.timestamp() * 1000))


def unpacked(value: "AttributeValueTypeDef") -> str | bytes:
    """Return what was compressed, or was written when it was not yet."""
    return zlib.decompress(value["B"]) if "B" in value else value["S"]


def _text(item: "Item", name: str) -> str:
    return item[name]["S"]


def _memory(state: "Item") -> Memory:
    """Return the memory in a STATE item; one that cannot be read (an older or newer release wrote it) is lost."""
    try:
        memory = _MEMORIES.validate_json(unpacked(state.get("memory") or state["body"]))
    except (ValidationError, KeyError, zlib.error):
        memory = Memory()
    return replace(memory, version=int(state["version"]["N"]) if "version" in state else 0)


def _original(body: str) -> Original:
    """Read an original; JSON has no times, so those of scheduled actions are made times again."""
    original = _ORIGINALS.validate_json(body)
    return replace(original, scheduled_actions=tuple(map(_with_times, original.scheduled_actions)))


def _with_times(action: ScheduledAction) -> ScheduledAction:
    times = {n: datetime.fromisoformat(action.settings[n]) for n in ("StartTime", "EndTime") if n in action.settings}
    return replace(action, settings={**action.settings, **times})
