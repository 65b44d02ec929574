"""The only reader of the clock.

Call it through the module (`clock.now()`), so that the embedded account can replace it from outside.
"""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present as an aware datetime in UTC."""
    return datetime.now(UTC)
