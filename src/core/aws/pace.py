"""So many writes a second: CloudWatch gives an account three for its alarms, whoever makes them (facts 8.1)."""

import time
from collections.abc import Callable


class Pace:
    """Spreads writes evenly. One object is shared by all that write the same thing.

    Args:
        a_second: writes, above 0.
        clock: seconds that only ever grow.
        sleep: waits so many seconds.
    """

    def __init__(
        self, a_second: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._seconds = 1 / a_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    def wait(self, writes: int) -> None:
        """Wait until it is the turn of so many writes, which are made at once then."""
        if (wait := self._free_at - self._clock()) > 0:
            self._sleep(wait)
        self._free_at = self._clock() + writes * self._seconds


UNPACED = Pace(float("inf"))
"""Where nobody counts the writes."""
