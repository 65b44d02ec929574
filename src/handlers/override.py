"""Override stores what an operator asks for, and runs the pass for its targets at once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from typing import Any

from core.context import Enrolment
from core.errors import ActuationError, ConfigError, Problem
from core.model import Override, OverrideAction, ScalableTarget, Scope, Told
from core.overrides import OverrideRequest, in_force, parse_override
from core.reconcile import Outcome, Ports, Status
from handlers.wiring import LambdaContext, LambdaHandler, Runtime, from_environment

RETRY_SECONDS = 2.0
_PLACE = ("target", "variant", "inference_component", "tag", "profile", "fleet")


def make_handler(runtime: Callable[[], Runtime]) -> LambdaHandler:
    """Return the function Lambda calls.

    The handler raises ConfigError, with every problem of the request, before anything is stored.
    """

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        tidegate = runtime()
        now = tidegate.begin(context).now
        ports = tidegate.reconciler.ports
        fleet = ports.policies.fleet()
        unknown = partial(_unknown, tidegate.reconciler.enrolments(fleet))
        request = parse_override(event, now, fleet.longest_override, unknown)
        wish = request.as_override(now, context.aws_request_id)
        standing = in_force(ports.store.overrides(), now)
        others = [o for o in standing if o.place == wish.place and o.override_id != wish.override_id]
        if wish.action is OverrideAction.RESUME:  # it must be known for as long as what it ends
            wish = replace(wish, expires_at=max([now, *(o.expires_at for o in others)]))
        if request.dry_run:
            dry = tidegate.begin(context, dry_run=True)
            outcomes = tidegate.reconciler.run(lambda e: e.under(wish), dry, extra=[wish])
            return {**tidegate.finish(context, outcomes, asked=True), **_said(request, wish, others)}
        known = ports.store.put_override(wish)
        if known is not None and not wish.repeats(known):
            allowed = f"is the ID of another request ({known.action} by {known.requested_by}: {known.reason})"
            raise ConfigError([Problem(("request_id",), wish.override_id, allowed)])
        news = {} if known and known.told else _tell(ports, known or wish, others)  # a repetition tells what was not
        outcomes = _insist(tidegate, wish, context)
        alive = [o.override_id for o in in_force(ports.store.overrides(), now)] if known else [wish.override_id]
        return {
            **tidegate.finish(context, outcomes, asked=True),
            **_said(request, known or wish, others, over=wish.override_id not in alive),
            "already_known": known is not None,
            **news,
        }

    return handler


def _unknown(enrolments: tuple[Enrolment, ...], scope: Scope, subject: str) -> str | None:
    """Say that no target is under a subject, and which names are alike; of a large fleet not all can be said."""
    known = sorted({each for enrolment in enrolments for each in enrolment.subjects(scope)})
    if subject in known:
        return None
    alike = get_close_matches(subject, known, n=3)
    nearest = f"; nearest: {', '.join(alike)}" if alike else ""
    return f"must concern an enrolled target; none of the {len(enrolments)} does{nearest}"


def _said(request: OverrideRequest, wish: Override, others: list[Override], *, over: bool = False) -> dict[str, Any]:
    """Return what the override is, when it ends and how to end it before, and which ones it takes the place of."""
    place = request.model_dump(include=set(_PLACE), exclude_defaults=True)
    ends = {"ends": f"{wish.expires_at:%Y-%m-%dT%H:%MZ}", "to_end_it": {"action": "resume", **place}}
    older = [o.override_id for o in others if o.created_at <= wish.created_at and not over]
    resumes = wish.action is OverrideAction.RESUME
    return {
        "override": wish.override_id,
        **({"over": True} if over else {} if resumes else ends),
        ("ended" if resumes else "supersedes"): older,
    }


def _tell(ports: Ports, wish: Override, others: list[Override]) -> dict[str, str]:
    """Tell of the override and of those it takes the place of; what cannot be told undoes nothing."""
    try:
        ports.events.tell(Told.CREATED, wish, wish.created_at)
        for other in others:
            ports.events.tell(Told.SUPERSEDED, other, wish.created_at, by=wish.override_id)
        ports.store.tell_override(replace(wish, told=Told.CREATED))
    except ActuationError as err:
        return {"untold": str(err)}
    return {}


def _insist(tidegate: Runtime, wish: Override, context: LambdaContext) -> tuple[Outcome, ...]:
    """Run the pass until it gets each target's lease; a tick that holds it is done in seconds."""
    done: dict[ScalableTarget, Outcome] = {}
    while True:
        when = tidegate.begin(context, asked=True)
        looked = tidegate.reconciler.run(lambda e: e.under(wish) and e.target not in done, when)
        done.update({o.target: o for o in looked if o.status is not Status.BUSY})
        busy = [o for o in looked if o.status is Status.BUSY]
        if not busy or tidegate.clock() + timedelta(seconds=RETRY_SECONDS) >= when.deadline:
            return (*done.values(), *busy)
        tidegate.sleep(RETRY_SECONDS)


handler = make_handler(from_environment)
