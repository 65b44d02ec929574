"""Targets as the command line says them, and which of those that a stack manages somebody means."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from cli.errors import RefusedError
from cli.overrides import place_of
from core.model import Dimension, ScalableTarget
from core.ports import Place

USUAL_VARIANT = "AllTraffic"
LIKE, SHOWN = 0.5, 5


def spelled(target: ScalableTarget) -> str:
    """Return a target as the command line takes it: the shortest way."""
    names = target.names
    if "InferenceComponentName" in names:
        return f"component:{names['InferenceComponentName']}"
    variant = names["VariantName"]
    return names["EndpointName"] if variant == USUAL_VARIANT else f"{names['EndpointName']}/{variant}"


def targets_of(target: str) -> list[ScalableTarget]:
    """Return what a target on the command line may be in the table; what is counted there, only the table knows.

    Raises:
        RefusedError: it is no single target.
    """
    resource = target
    if not target.startswith(("endpoint/", "inference-component/")):
        place = place_of(target)
        if "inference_component" in place:
            resource = ScalableTarget.component(place["inference_component"]).resource_id
        elif "target" in place:
            resource = ScalableTarget.variant(place["target"], place.get("variant", USUAL_VARIANT)).resource_id
        else:
            raise RefusedError(f"TARGET = {target!r}: must be one endpoint, endpoint/variant or component:NAME")
    return [ScalableTarget(resource, dimension) for dimension in Dimension]


def meant(target: str, roster: Mapping[ScalableTarget, Place]) -> list[ScalableTarget]:
    """Return the managed targets that somebody means: the one, or all of an endpoint that has no `AllTraffic`.

    Raises:
        RefusedError: it is no single target, or none that is managed; with the nearest names.
    """
    possible = targets_of(target)
    found = [each for each in roster if each in possible]
    found = found or sorted(each for each, place in roster.items() if place.endpoint.lower() == target.lower())
    if not found:
        raise RefusedError(f"TARGET = {target!r}: no such target; {nearest(target, map(spelled, roster))}")
    return found


def single(target: str, roster: Mapping[ScalableTarget, Place]) -> ScalableTarget:
    """Return the one managed target that somebody means.

    Raises:
        RefusedError: none, or several.
    """
    found = meant(target, roster)
    if len(found) > 1:
        raise RefusedError(f"TARGET = {target!r}: name one of {', '.join(map(spelled, found))}")
    return found[0]


def refuse_unknown(asked: Collection[str], known: Collection[str], place: str) -> None:
    """Refuse names of endpoints that are not there, with the nearest: a mistyped one is no endpoint at rest.

    Raises:
        RefusedError: for all of them.
    """
    wrong = [f"ENDPOINT = {name!r}: is not in {place}; {nearest(name, known)}" for name in asked if name not in known]
    if wrong:
        raise RefusedError("\n".join(wrong))


def nearest(target: str, known: Iterable[str]) -> str:
    """Say what is known under a name like this one, else what is known at all."""
    names = sorted(known)
    if like := get_close_matches(target, names, n=SHOWN, cutoff=LIKE):
        return f"did you mean {' or '.join(like)}?"
    if not names:
        return "there is none yet"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"there are {', '.join(names[:SHOWN])}{more}"
