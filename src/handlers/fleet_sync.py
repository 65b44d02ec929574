"""FleetSync enrols, repairs and releases: hourly, after a policy push, and when an endpoint's state changes."""

from collections.abc import Callable
from typing import Any

from core.fleet import FleetSync
from handlers.wiring import LambdaContext, LambdaHandler, Runtime, from_environment, resource_named_by


def make_handler(runtime: Callable[[], Runtime]) -> LambdaHandler:
    """Return the function Lambda calls."""

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        tidegate = runtime()
        endpoint = (resource_named_by(event) or "").removeprefix("endpoint/") or None
        outcomes = FleetSync(tidegate.reconciler).run(tidegate.begin(context), endpoint)
        return tidegate.finish(context, outcomes)

    return handler


handler = make_handler(from_environment)
