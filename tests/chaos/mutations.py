"""Events that nobody should send: those of `events/` and of this fleet, mutated, over every handler.

Nothing is due when they arrive, so whatever a pass writes, it believed something in an event.
"""

import base64
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from core.errors import ConfigError
from core.model import Serving
from handlers import policy_validator
from handlers.wiring import Runtime
from simulator.stack import MAKERS
from tests.builders import ASYNC, BATCH, REALTIME
from tests.chaos.passes import Invocation, Listener, Patience
from tests.fakes.aws import observed
from tests.world import World

EVENTS = Path(__file__).parents[2] / "events"
NAMES = {"orders-ranker-prod": "orders", "doc-ocr-async-prod": "queue", "nightly-scoring-prod": "nightly"}
FUNCTIONS = (*MAKERS, "PolicyValidator")
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**63, -(2**70), 0.5, math.nan, math.inf, 1e308,
    "", " ", "orders", "ORDERS", "endpoint/orders/variant/AllTraffic", "*", "../..", "null", "\x00", "\ud800", "é" * 300,
    "a" * 20_000, "2026-11-18T12:00:00Z", "2026-11-18T12:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
    "${jndi:ldap://x}", "'; DROP TABLE tidegate; --", "pin", "floor", "ceiling", "pause", "resume",
    [], [[]], [None], ["orders"], {}, {"": ""}, {"EndpointName": "orders"}, {"detail": {}},
)  # fmt: skip


@dataclass
class Fuzz:
    """Sends mutated events.

    Args:
        seed: the same seed, the same events.
        makers: of the handlers, if not the deployed ones.
    """

    seed: int
    makers: Mapping[str, Any] = field(default_factory=lambda: MAKERS)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)  # noqa: S311 - events, not secrets
        self._seeds = _seed_events()
        self._calm = _calm()
        self._begin()

    def _begin(self) -> None:
        self._world = deepcopy(self._calm)
        self._reconciler = self._world.reconciler

    def run(self, count: int) -> "Fuzz":
        """Send that many."""
        functions = FUNCTIONS if self.makers is MAKERS else tuple(self.makers)
        for _ in range(count):
            function = self._chance.choice(functions)
            own = [e for name, e in self._seeds if name == function]
            event = self._chance.choice(own if self._chance.random() < 0.8 else [e for _, e in self._seeds])
            self._send(function, self._mutated(event, function))
        return self

    def _send(self, function: str, event: Any) -> None:
        try:
            wrong = list(self._judged(function, event))
        except ConfigError as err:
            wrong = [] if err.problems and str(err) else ["refuses without a problem"]
            if self._touched():
                wrong.append(f"refuses, but wrote {self._world.writes}")
            self.counts[f"{function} refused"] += 1
        except Exception as err:  # noqa: BLE001 - that is what is looked for
            wrong = [f"{type(err).__name__}: {str(err)[:200]}"]
        if wrong:
            self.counts[f"{function} wrong"] += 1
            self.problems.append(f"{function} {json.dumps(event)[:500]}: {'; '.join(wrong)}")
        if self._touched():
            self._begin()

    def _judged(self, function: str, event: Any) -> Iterator[str]:
        """Invoke the function; yield what is wrong with what it did."""
        if function == "PolicyValidator":
            policy_validator.handler(event, None)
            self.counts["PolicyValidator accepted"] += 1
            return
        world = self._world
        patience = Patience(began=world.now, seconds=50)
        runtime = Runtime(reconciler=self._reconciler, clock=patience.now, tell=Listener().tell, sleep=patience.sleep)
        reply = self.makers[function](lambda: runtime)(event, Invocation(function, "r-1", patience))
        self.counts[f"{function} passed"] += 1
        json.dumps(reply)
        if function != "Override" and self._touched():
            yield f"wrote {world.writes}, though nothing was due"
        yield from self._beyond_bounds()

    def _beyond_bounds(self) -> Iterator[str]:
        """Whatever an override says: policy maximum, expiry, reason and name hold."""
        world = self._world
        for target, bounds in world.autoscaling.bounds.items():
            lowest = 0 if target.names["EndpointName"] == "queue" else 1
            if not lowest <= bounds.floor <= bounds.ceiling <= HIGHEST:
                yield f"{target.resource_id} has {bounds}"
        longest = timedelta(days=7)
        for wish in world.store.overrides():
            if not (wish.reason.strip() and wish.requested_by.strip()):
                yield f"{wish} has no reason or nobody to ask"
            if wish.expires_at > world.now + longest:
                yield f"{wish} lasts too long"

    def _touched(self) -> bool:
        fakes = (self._world.autoscaling, self._world.metrics, self._world.serving)
        changed = self._world.store.roster() != self._calm.store.roster()
        return changed or any(fake.writes for fake in fakes) or bool(self._world.store.overrides())

    def _mutated(self, event: Any, function: str) -> Any:
        chance, made = self._chance, deepcopy(event)
        if function == "PolicyValidator" and chance.random() < 0.5:  # then what the document says
            document = json.loads(base64.b64decode(made["content"])) if "content" in made else {}
            return {"content": base64.b64encode(json.dumps(self._mutated(document, "")).encode()).decode()}
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
            made = self._changed(made)
        return made

    def _changed(self, tree: Any) -> Any:
        """Return the tree with one thing in it changed."""
        chance = self._chance
        if not isinstance(tree, dict | list) or not tree or chance.random() < 0.05:
            return self._other(tree)
        key = chance.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        if isinstance(tree[key], dict | list) and tree[key] and chance.random() < 0.75:
            tree[key] = self._changed(tree[key])
            return tree
        match chance.randrange(4):
            case 0:
                del tree[key]
            case 1 if isinstance(tree, dict):
                tree[chance.choice(("", "extra", str(key).upper(), f"{key} "))] = tree[key]
            case _:
                tree[key] = self._other(tree[key])
        return tree

    def _other(self, value: Any) -> Any:
        chance = self._chance
        match value, chance.randrange(4):
            case str(), 0:
                cut = chance.randrange(len(value) + 1)
                return value[:cut] + chance.choice(("", "\u202e", "/", "'", "%s")) + value[cut + chance.randrange(3) :]
            case int() | float(), 0:
                return value * chance.choice((-1, 0, 1e9, 0.1))
            case _, 1:
                return [value]
            case _, 2 if chance.random() < 0.05:
                return _deep(value, 150)
            case _:
                return deepcopy(chance.choice(JUNK))


HIGHEST = 12
"""Largest maximum of the fleet's profiles."""


def _deep(value: Any, levels: int) -> Any:
    for level in range(levels):
        value = {"detail": value} if level % 2 else [value]
    return value


def _seed_events() -> list[tuple[str, Mapping[str, Any]]]:
    """Return the events of `events/` about endpoints of this fleet, each with its function."""
    found = []
    for path in sorted(EVENTS.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        for theirs, ours in NAMES.items():
            text = text.replace(theirs, ours)
        function = next(name for name in FUNCTIONS if path.stem.replace("-", "").startswith(name.lower()))
        found.append((function, json.loads(text)))
    return found


def _calm() -> World:
    """Return a fleet of three kinds in which nothing is due."""
    world = World(count=2)
    world.document["profiles"] = {"p": dict(REALTIME), "a": ASYNC, "b": BATCH}
    world.document["endpoints"] += [{"name": "queue", "profile": "a"}, {"name": "nightly", "profile": "b"}]
    world.serving.add("queue", serving=Serving.ASYNC, count=0)
    world.serving.add("nightly", count=1)
    world.enrolled()
    world.metrics.series = {name: observed(world.now, *[0] * 15) for name in ("Invocations", "ApproximateBacklogSize")}
    for _ in range(2):
        world.sync()
        world.tick()
    assert not world.writes or not world.tick()
    _ = world.writes
    return world
