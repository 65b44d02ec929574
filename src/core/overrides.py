"""Which overrides stand, and which of them comes first: pure functions of what was asked, in any order."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from core.model import Override, OverrideAction, Scope, Told

SOON = timedelta(minutes=15)
"""Before its end it is told that an override ends; a short one is half over by then."""

_NARROWEST_FIRST = tuple(Scope)


def standing(found: Iterable[Override]) -> list[Override]:
    """Return the overrides that no `resume` ended, expired ones too; it ends all of its place that came before it."""
    asked = list(found)
    resumed = [o for o in asked if o.action is OverrideAction.RESUME]
    return [
        o
        for o in asked
        if o.action is not OverrideAction.RESUME
        and not any(r.place == o.place and r.created_at >= o.created_at for r in resumed)
    ]


def in_force(found: Iterable[Override], now: datetime) -> list[Override]:
    """Return the overrides that stand and have not expired: the narrowest scope first, then the newest."""
    alive = sorted(
        (o for o in standing(found) if now < o.expires_at), key=lambda o: (o.created_at, o.override_id), reverse=True
    )
    return sorted(alive, key=lambda o: _NARROWEST_FIRST.index(o.scope))


def untold(found: Iterable[Override], now: datetime) -> list[tuple[Told, Override]]:
    """Return what is due to be told of the ends of overrides that stand, each once however late."""
    due = []
    for each in standing(found):
        soon = each.expires_at - min(SOON, (each.expires_at - each.created_at) / 2)
        news = Told.EXPIRED if each.expires_at <= now else Told.ENDING_SOON if soon <= now else None
        if news is not None and news is not each.told:
            due.append((news, each))
    return due
