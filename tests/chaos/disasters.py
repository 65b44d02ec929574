"""What befalls a whole pass instead of one call: the policy document or the table is away, broken, lost or old."""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType

from core.errors import TidegateError
from core.model import ScalableTarget
from tests.chaos.check import (
    HOURLY,
    differences,
    escaped,
    lowered,
    next_pass,
    only_later,
    tick,
    twin,
    without_expiry,
)
from tests.chaos.cloud import CloudAccount, Snapshot
from tests.chaos.passes import Arm, Build, Patience, State, invoke, look, policy_bounds, runtime
from tests.chaos.story import TARGETS, Moment, moments, replayed
from tests.chaos.wire import Answer, Attempt, Fault

ONLY_THERE = "lost what stood before adoption"
SETTLED = 12
"""Minutes after which a target that no override moves stands where it would in a world that kept its table."""

LATER = 10
"""Minutes more that a controller may take which has to learn of latency anew before it raises."""


def _refuses(service: str, code: str) -> Arm:
    """Return what refuses every call to a service."""

    def made(_: Patience) -> Fault:
        def fault(attempt: Attempt) -> Answer:
            if attempt.call.service == service:
                return Answer.error(service, code, "We encountered an internal error.", 500)
            return attempt.happen()

        return fault

    return made


Befall = Callable[[CloudAccount, Moment], None]


def _nothing(_cloud: CloudAccount, _moment: Moment) -> None:
    """The calls are struck, not the cloud."""


def _document(content: Mapping[str, Any]) -> Befall:
    def befall(cloud: CloudAccount, _: Moment) -> None:
        cloud.document = content

    return befall


def _lost(cloud: CloudAccount, _: Moment) -> None:
    cloud.items.clear()


def _restored(cloud: CloudAccount, moment: Moment) -> None:
    """Somebody restores the table as it was two kept moments ago, at the earliest after the first enrolment."""
    before = moments()[max(1, moments().index(moment) - 2)]
    cloud.items.clear()
    cloud.items.update(before.before.items_again())


@dataclass(frozen=True, slots=True, kw_only=True)
class Disaster:
    """What is wrong while a pass runs. The document's troubles pass; a table that was lost or restored stays so."""

    name: str
    arm: Arm | None = None
    befall: Befall = _nothing
    spares: bool = True
    """Whether a pass does its work all the same."""

    forgets: bool = False
    """Whether overrides and what else only the table knows are lost with it."""

    def problems(self, moment: Moment, build: Build = runtime) -> Iterator[str]:
        """Let it befall this pass, then let time pass; yield what does not hold."""
        return (f"{moment.name}, {self.name}: {problem}" for problem in self._problems(moment, build))

    def _problems(self, moment: Moment, build: Build) -> Iterator[str]:
        clean, cloud = twin(moment), replayed(moment)
        document, bounds, copied = cloud.document, policy_bounds(cloud), _copied(cloud)
        self.befall(cloud, moment)
        struck = invoke(cloud, moment.function, moment.event, self.arm, build)
        if struck.error is not None and not isinstance(struck.error, TidegateError):
            yield f"true: ends with {struck.error!r}, which is none of ours"
        left = look(cloud, TARGETS)
        yield from (what for what in lowered(clean, left) if not (self.forgets and what.endswith(ONLY_THERE)))
        yield from escaped(left, bounds)
        yield from without_expiry(clean, left, bounds)
        cloud.document = document
        if self.forgets:
            yield from self._settles(cloud, moment)
            return
        if self.spares and copied:
            yield from (f"stays in force: {what}" for what in differences(left, clean.first))
        if struck.error is None and moment.function != "Override":
            yield "true: success, though what is in force is not the newest document"
        after = next_pass(cloud, moment, build)
        yield from escaped(after, bounds)
        differs = list(differences(after, clean.after, clean.missed))
        if differs and not only_later(cloud, moment, clean.after):
            yield from (f"converges: {what}" for what in differs)

    def _settles(self, cloud: CloudAccount, moment: Moment) -> Iterator[str]:
        """Without overrides, bounds soon are no less than those of the same minute in a world that kept its table.

        Native tracking moves the counts within them, at a target that latency has to lower anew.
        """
        lost, bounds = _alone(cloud), policy_bounds(cloud)
        whole = replayed(moment)
        invoke(whole, moment.function, moment.event)
        kept = _alone(whole)
        behind: list[list[str]] = []
        for minutes, judged in ((SETTLED, 1), (LATER, LATER)):
            found, lost = _played(lost, moment, minutes)
            wanted, kept = _played(kept, moment, minutes)
            for each in found:
                yield from escaped(each, bounds)
            pairs = list(zip(found, wanted, strict=True))[-judged:]
            behind = [list(_behind(one, other, bounds)) for one, other in pairs]
            if not all(behind):
                return
        yield from behind[-1]


def _behind(found: State, wanted: State, among: Iterable[ScalableTarget]) -> Iterator[str]:
    """Yield the targets that have a lower bound than they should."""
    for target in among:
        one, other = found.targets[target], wanted.targets[target]
        if any(own < kept for own, kept in zip(one.bounds or (0, 0), other.bounds or (0, 0), strict=True)):
            yield f"converges: {target.resource_id} has {one.bounds}, less than {other.bounds}"


def _copied(cloud: CloudAccount) -> bool:
    """Whether the table holds a copy of the document that is in force."""
    kept = cloud.rows.get("POLICY", {}).get("COPY")
    return kept is not None and json.loads(zlib.decompress(kept["body"]["B"])) == cloud.document


def _alone(cloud: CloudAccount) -> Snapshot:
    """Take the overrides away and let FleetSync come by; return what is left."""
    cloud.items.pop(DynamoType({"S": "OVERRIDES"}), None)
    invoke(cloud, "FleetSync", HOURLY)
    return cloud.save()


def _played(world: Snapshot, moment: Moment, minutes: int) -> tuple[list[State], Snapshot]:
    """Let time pass for all owners; return what stands in each minute, and what is left.

    FleetSync has just come by: what it may learn of an instance at the next hour is not what a lost table is judged by.
    """
    cloud = CloudAccount.of(world)
    found = [tick(cloud, replace(moment, function="FleetSync"), hourly=False) for _ in range(minutes)]
    return found, cloud.save()


DISASTERS = (
    Disaster(name="document unreachable", arm=_refuses("appconfigdata", "InternalServerException")),
    Disaster(name="document broken", befall=_document({"version": 1, "profiles": {"shop": {"kind": "shop"}}})),
    Disaster(name="document of another release", befall=_document({"version": 2})),
    Disaster(name="table throttled", arm=_refuses("dynamodb", "ThrottlingException"), spares=False),
    Disaster(name="table lost", befall=_lost, forgets=True),
    Disaster(name="table restored", befall=_restored, forgets=True),
)
