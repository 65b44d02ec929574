"""Override stores what an operator asks for, and runs the pass for its target at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from core.errors import ConfigError, Problem
from core.model import ScalableTarget
from core.policy import parse_override
from core.reconcile import Outcome, Pass, Status
from handlers.wiring import LambdaContext, LambdaHandler, Runtime, from_environment

RETRY_SECONDS = 2.0


def make_handler(runtime: Callable[[], Runtime]) -> LambdaHandler:
    """Return the function Lambda calls.

    The handler raises ConfigError, with every problem of the request, before anything is stored.
    """

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        tidegate = runtime()
        when = tidegate.begin(context)
        request = parse_override(event, when.now)
        override = request.as_override(_enrolled(tidegate, request.resource_id), when.now)
        if request.dry_run:
            when = tidegate.begin(context, dry_run=True)
            outcomes = tidegate.reconciler.run(lambda e: e.target == override.target, when, extra=[override])
            return tidegate.finish(context, outcomes)
        stored = tidegate.reconciler.ports.store.put_override(override)
        outcomes = _insist(tidegate, override.target, when, context)
        return {**tidegate.finish(context, outcomes), "override": override.override_id, "already_known": not stored}

    return handler


def _enrolled(tidegate: Runtime, resource_id: str) -> ScalableTarget:
    reconciler = tidegate.reconciler
    known = {e.target.resource_id: e.target for e in reconciler.enrolments(reconciler.ports.policies.fleet())}
    if resource_id not in known:
        allowed = f"must be an enrolled target ({', '.join(sorted(known)) or 'there are none yet'})"
        raise ConfigError([Problem(("target",), resource_id, allowed)])
    return known[resource_id]


def _insist(tidegate: Runtime, target: ScalableTarget, when: Pass, context: LambdaContext) -> tuple[Outcome, ...]:
    """Run the pass until it gets the target's lease; a tick that holds it is done in seconds."""
    while True:
        outcomes = tidegate.reconciler.run(lambda e: e.target == target, when)
        if all(outcome.status is not Status.BUSY for outcome in outcomes):
            return outcomes
        if tidegate.clock() + timedelta(seconds=RETRY_SECONDS) >= when.deadline:
            return outcomes
        tidegate.sleep(RETRY_SECONDS)
        when = tidegate.begin(context)


handler = make_handler(from_environment)
