"""Public holidays of a country as plain dates: what is deployed knows dates only, and no calendar can change later."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import date
from typing import Any

import holidays

HOLIDAYS = "except_holidays"
YEARS = 3
CALENDAR = (
    "Country (ISO 3166), if need be with its subdivision, on whose public holidays the window does not start. "
    f"`tidegate policy push` adds the dates of this year and the next {YEARS - 1} to `except`; push again before they "
    "are over."
)
Refused = tuple[tuple[str | int, ...], object, str]
"""Where, what was seen there, what is allowed."""


def resolved(document: object, year: int) -> tuple[Any, list[Refused]]:
    """Return the document with each window's holidays as dates in `except`, and what could not be resolved.

    Args:
        document: a policy document, right or wrong: other faults are left for `core.policy` to name.
        year: the first of the years of which the dates are taken.
    """
    written, refused = deepcopy(document), list[Refused]()
    for where, window in _windows(written):
        if HOLIDAYS not in window:
            continue
        calendar = window.pop(HOLIDAYS)
        try:
            found = _dates(calendar, year)
        except NotImplementedError:
            allowed = "must be a country such as DE, or one with its subdivision such as DE-BY"
            refused.append(((*where, HOLIDAYS), calendar, allowed))
            continue
        others = window.get("except", [])
        window["except"] = [*others, *found] if isinstance(others, list) else others
    return written, refused


def _windows(document: object) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    profiles = document.get("profiles") if isinstance(document, Mapping) else None
    for name, profile in profiles.items() if isinstance(profiles, Mapping) else ():
        windows = profile.get("windows") if isinstance(profile, Mapping) else None
        for index, window in enumerate(windows if isinstance(windows, list) else ()):
            if isinstance(window, dict):
                yield ("profiles", name, "windows", index), window


def _dates(calendar: object, year: int) -> list[date]:
    country, _, subdivision = str(calendar).partition("-")
    return sorted(holidays.country_holidays(country, subdiv=subdivision or None, years=range(year, year + YEARS)))
