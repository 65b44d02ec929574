"""What a pass that is written down and one that reads its answers must spell alike, or an answer is not found.

Nothing is imported here that a cold start has not: what it imports itself is timed.
"""

from collections import Counter


class Invocation:
    """Lambda's context object."""

    function_name, aws_request_id = "tidegate-prod", "bench"

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the time-out."""
        return 1000 * self._seconds


def named(number: int, operation: str, body: object, times: Counter[str]) -> str:
    """Return where the answer to a request of a pass is kept.

    Of equal ones in a pass (`times` counts them) each has its own: what was written since is in its answer. The
    configuration is the same in all passes, whichever of them asks for it, and by tokens that differ.
    """
    if "Configuration" in operation:
        return operation
    request = f"{number} {operation} {body.decode() if isinstance(body, bytes) else body or ''}"
    times[request] += 1
    return request if times[request] == 1 else f"{request} {times[request]}"
