"""Units of time."""

from datetime import timedelta

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
A_DAY = DAY // MINUTE
"""Minutes."""
