"""State and policy without AWS: for the demo, the backtest and tests. Behaves as `core.aws.store.Table` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from core.context import Decision
from core.model import Learned, Memory, Override, ScalableTarget, Told
from core.overrides import OVERRIDES_KEPT
from core.policy import Fleet, parse_fleet
from core.ports import Original, Place


@dataclass(slots=True)
class _State:
    """What the table's STATE item holds."""

    memory: Memory = field(default_factory=Memory)
    lease_holder: str | None = None
    lease_until: datetime | None = None


class InMemoryStore:
    """The port `StateStore` in dictionaries. `decisions` lists what was kept, oldest first.

    Args:
        keep_decisions: whether they are kept; each holds all that was seen, so weeks of them fill the memory.
    """

    def __init__(self, *, keep_decisions: bool = True) -> None:
        self.decisions: list[tuple[Decision, str]] = []
        self._keep_decisions = keep_decisions
        self._states: dict[ScalableTarget, _State] = {}
        self._overrides: dict[str, Override] = {}
        self._originals: dict[ScalableTarget, Original] = {}
        self._roster: dict[ScalableTarget, Place] | None = None
        self._learned: dict[ScalableTarget, Learned] = {}

    def memories(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Memory]:
        """Return what is remembered; an unknown target gets an empty `Memory()`."""
        return {target: self._states[target].memory if target in self._states else Memory() for target in targets}

    def overrides(self) -> tuple[Override, ...]:
        """Return every override."""
        return tuple(self._overrides.values())

    def put_override(self, override: Override) -> Override | None:
        """Store an override and return nothing; or, if its ID is taken, what stands under it."""
        known = self._overrides.get(override.override_id)
        if known is not None and known.expires_at + OVERRIDES_KEPT >= override.created_at:
            return known
        self._overrides[override.override_id] = override
        return None

    def tell_override(self, override: Override) -> None:
        """Write down what was told of an override."""
        self._overrides[override.override_id] = override

    def claim(self, target: ScalableTarget, version: int, holder: str, now: datetime, until: datetime) -> bool:
        """Take the target's lease until `until`. False if somebody holds it or wrote since `version` was read."""
        if not self._free(target, version, holder, now):
            return False
        state = self._states.setdefault(target, _State())
        state.lease_holder, state.lease_until = holder, until
        return True

    def record(self, target: ScalableTarget, memory: Memory, holder: str, now: datetime) -> bool:
        """Write the memory (its version + 1) and give up the lease. False if somebody else holds it or wrote."""
        if not self._free(target, memory.version, holder, now):
            return False
        state = self._states.setdefault(target, _State())
        state.memory = replace(memory, version=memory.version + 1)
        state.lease_holder = state.lease_until = None
        return True

    def forget(self, target: ScalableTarget) -> None:
        """Remove the target's memory, original, fit and place in the roster."""
        self._states.pop(target, None)
        self._originals.pop(target, None)
        self._learned.pop(target, None)
        (self._roster or {}).pop(target, None)

    def put_decision(self, decision: Decision, outcome: str) -> None:
        """Keep a decision, if they are kept."""
        if self._keep_decisions:
            self.decisions.append((decision, outcome))

    def learned(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Learned]:
        """Return the newest fit of those targets that have one."""
        return {target: self._learned[target] for target in targets if target in self._learned}

    def put_learned(self, target: ScalableTarget, learned: Learned) -> None:
        """Keep a fit in place of the one before."""
        self._learned[target] = learned

    def roster(self) -> Mapping[ScalableTarget, Place] | None:
        """Return the place of each enrolled target, or None if nothing was ever written."""
        return None if self._roster is None else dict(self._roster)

    def put_roster(self, roster: Mapping[ScalableTarget, Place]) -> None:
        """Replace the roster."""
        self._roster = dict(roster)

    def original(self, target: ScalableTarget) -> Original | None:
        """Return what was saved before adoption."""
        return self._originals.get(target)

    def put_original(self, target: ScalableTarget, original: Original) -> None:
        """Save what stood before, in place of what was saved."""
        self._originals[target] = original

    def _free(self, target: ScalableTarget, version: int, holder: str, now: datetime) -> bool:
        """Whether `holder` may change the state it read as `version`."""
        state = self._states.get(target, _State())
        held = state.lease_until is not None and state.lease_until > now and state.lease_holder != holder
        return state.memory.version == version and not held


class InMemoryEvents:
    """The port `Events`: `told` lists what was put, oldest first, each with who took the override's place."""

    def __init__(self) -> None:
        self.told: list[tuple[Told, Override, str | None]] = []

    def tell(self, what: Told, override: Override, now: datetime, by: str | None = None) -> None:  # noqa: ARG002 - the port's
        """Put an event about an override."""
        self.told.append((what, override, by))


class StaticPolicies:
    """The port `PolicySource` over a document at hand.

    Args:
        fleet_document: what JSON or YAML gave.

    Raises:
        ConfigError: with every problem of the document.
    """

    trouble: str | None = None

    def __init__(self, fleet_document: object) -> None:
        self._fleet = parse_fleet(fleet_document)

    def fleet(self) -> Fleet:
        """Return the document."""
        return self._fleet

    def keep(self) -> None:
        """Keep nothing: what is at hand cannot become unreadable."""
