"""Overrides: how one is asked for, which of them stand, and which of those comes first.

Pure functions of what was asked, in any order.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, StringConstraints, ValidationError, ValidationInfo, field_validator

from core.errors import ConfigError, Problem
from core.fields import Count, Duration, Name, Strict, duration_text, parsed
from core.model import Override, OverrideAction, ScalableTarget, Scope, Told


class _Place(Strict):
    """What an override is for."""

    target: Name | None = None
    """An endpoint, whose `variant` or `inference_component` is meant."""

    variant: Name = "AllTraffic"
    inference_component: Name | None = None
    tag: Annotated[str, StringConstraints(pattern=r"^[^=]+=.*$", max_length=385)] | None = None
    """`key=value`: every target whose endpoint carries the tag, as FleetSync last saw it."""

    profile: Name | None = None
    """Every target of this profile."""

    fleet: Literal[True] | None = None
    """Every target. Exactly one of `target`, `tag`, `profile` and `fleet` is stated; a component needs no `target`."""

    @field_validator("fleet")
    @classmethod
    def _one_scope(cls, value: bool | None, info: ValidationInfo) -> bool | None:  # noqa: FBT001 - pydantic's signature
        known = info.data | ({} if info.data.get("inference_component") is None else {"target": "?"})
        stated = [name for name in ("target", "tag", "profile") if known.get(name, "?") is not None]
        if len(stated) + bool(value) != 1:
            raise ValueError("state exactly one of target, tag, profile, fleet")
        return value

    @property
    def place(self) -> tuple[Scope, str]:
        """What the request is for. A target is named as AAS names it; what is counted there, the enrolment says."""
        if self.inference_component is not None:
            return Scope.TARGET, ScalableTarget.component(self.inference_component).resource_id
        if self.target is not None:
            return Scope.TARGET, ScalableTarget.variant(self.target, self.variant).resource_id
        if self.tag is not None:
            return Scope.TAG, self.tag
        return (Scope.FLEET, "") if self.profile is None else (Scope.PROFILE, self.profile)


_PRINTED = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""No control characters: terminals and logs show it to people."""


class OverrideRequest(_Place):
    """What an operator sends to the Override function."""

    request_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$")]
    """Sending the same request twice is doing it once; another request under its ID is refused."""

    action: OverrideAction
    capacity: Count | None = None
    duration: Duration | None = None
    """How long it lasts from when it is received on; or `expires_at`. `resume` takes neither."""

    expires_at: AwareDatetime | None = None

    reason: Annotated[str, StringConstraints(min_length=3, max_length=500, pattern=_PRINTED)]
    requested_by: Annotated[str, StringConstraints(min_length=2, max_length=200, pattern=_PRINTED)]
    """Who asks: a claim. The request ID of the invocation is kept, under which CloudTrail knows."""

    dry_run: bool = False

    @field_validator("capacity")
    @classmethod
    def _capacity_goes_with_the_action(cls, value: int | None, info: ValidationInfo) -> int | None:
        action = info.data.get("action")
        takes = action not in {OverrideAction.PAUSE, OverrideAction.RESUME}
        if action and takes != (value is not None):
            raise ValueError(f"{action.value} {'needs a' if takes else 'takes no'} capacity")
        return value

    @field_validator("duration", "expires_at")
    @classmethod
    def _ends_soon_enough(cls, value: timedelta | datetime | None, info: ValidationInfo) -> timedelta | datetime | None:
        if value is None:
            return None
        if info.data.get("action") is OverrideAction.RESUME:
            raise ValueError("resume takes no end: it ends others")
        now, longest = (info.context or {})["now"], (info.context or {})["longest"]
        if not timedelta(0) < (value - now if isinstance(value, datetime) else value) <= longest:
            raise ValueError(f"must be after now ({now:%Y-%m-%dT%H:%MZ}) and at most {duration_text(longest)} ahead")
        return value

    @field_validator("expires_at")
    @classmethod
    def _ends_once(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        """Return the end, whichever way it was stated."""
        lasting = info.data.get("duration", ...)  # one that is wrong was reported already
        if lasting is not ... and info.data.get("action") is not OverrideAction.RESUME:
            if (value is None) == (lasting is None):
                raise ValueError("state exactly one of duration, expires_at")
            value = value or (info.context or {})["now"] + lasting
        return value and value.astimezone(UTC)

    def as_override(self, now: datetime, invocation: str) -> Override:
        """Return the override this request stands for, made at `now`."""
        scope, subject = self.place
        return Override(
            override_id=self.request_id,
            action=self.action,
            scope=scope,
            subject=subject,
            capacity=self.capacity,
            created_at=now,
            expires_at=self.expires_at or now,
            reason=self.reason,
            requested_by=self.requested_by,
            invocation=invocation,
        )


def parse_override(
    event: object, now: datetime, longest: timedelta, unknown: Callable[[Scope, str], str | None] = lambda *_: None
) -> OverrideRequest:
    """Return an override request as types; it must end in the future of `now`, and no further ahead than `longest`.

    Args:
        event: what was sent.
        now: when it was received.
        longest: how long an override may last.
        unknown: says why nothing is at a place; None where something is.

    Raises:
        ConfigError: with one problem for each wrong field, and one for a place where nothing is.
    """
    problems: list[Problem] = []
    with suppress(ValidationError):  # what is wrong with the place is said below, with the rest
        scope, subject = _Place.model_validate(event, extra="ignore").place
        problems = [Problem((scope.value,), subject, why)] if (why := unknown(scope, subject)) else []
    try:
        request = parsed(OverrideRequest, event, {"now": now, "longest": longest})
    except ConfigError as err:
        raise ConfigError([*err.problems, *problems]) from err
    if problems:
        raise ConfigError(problems)
    return request


OVERRIDES_KEPT = timedelta(days=1)
"""After their expiry: until then it is told, and their IDs are known."""

SOON = timedelta(minutes=15)
"""Before its end it is told that an override ends; a short one is half over by then."""


def standing(found: Iterable[Override]) -> list[Override]:
    """Return the overrides that no `resume` ended, expired ones too; it ends what it saw of its place, up to itself."""
    asked = list(found)
    resumed = [o for o in asked if o.action is OverrideAction.RESUME]
    older = ((o, r) for o in asked for r in resumed if r.place == o.place and r.created_at >= o.created_at)
    ended = {o for o, r in older if r.expires_at >= o.expires_at}  # what lasts longer was stored after it had looked
    return [o for o in asked if o not in ended]


def in_force(found: Iterable[Override], now: datetime) -> list[Override]:
    """Return the overrides that stand and have not expired: the narrowest scope first, then the newest."""
    alive = (o for o in standing(found) if now < o.expires_at)
    return sorted(alive, key=lambda o: (-[*Scope].index(o.scope), o.created_at, o.override_id), reverse=True)


def untold(found: Iterable[Override], now: datetime) -> list[tuple[Told, Override]]:
    """Return what is due to be told of the ends of overrides that stand, each once however late."""
    due = []
    for each in standing(found):
        soon = each.expires_at - min(SOON, (each.expires_at - each.created_at) / 2)
        news = Told.EXPIRED if each.expires_at <= now else Told.ENDING_SOON if soon <= now else None
        if news is not None and news is not each.told:
            due.append((news, each))
    return due
