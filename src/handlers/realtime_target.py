"""RealtimeTarget owns real-time targets: each tick, and when one of their declared alarms changes state."""

from collections.abc import Callable
from typing import Any

from core.model import Kind
from handlers.wiring import LambdaContext, LambdaHandler, Runtime, endpoint_named_by, from_environment


def make_handler(runtime: Callable[[], Runtime]) -> LambdaHandler:
    """Return the function Lambda calls."""

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        tidegate = runtime()
        endpoint = endpoint_named_by(event)
        outcomes = tidegate.reconciler.run(
            lambda e: e.profile.kind is Kind.REALTIME and endpoint in {None, e.target.endpoint_name},
            tidegate.begin(context),
        )
        return tidegate.finish(context, outcomes)

    return handler


handler = make_handler(from_environment)
