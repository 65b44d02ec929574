"""BatchWindow owns batch targets, visits others at the edges of their windows, and tells of overrides that end."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from core.model import Kind
from core.overrides import untold
from core.reconcile import Ports
from core.signals.window import edge_within
from handlers.wiring import LambdaContext, LambdaHandler, Runtime, from_environment, make_owner, messages_in

EDGE = timedelta(minutes=5)
"""An edge is looked at this long: longer than a missed tick, and a second look changes nothing."""


def make_handler(runtime: Callable[[], Runtime]) -> LambdaHandler:
    """Return the function Lambda calls."""
    visit = make_owner(
        lambda e, now: e.profile.kind is Kind.BATCH or edge_within(e.profile.windows, now, EDGE), runtime, tunes=True
    )

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        try:
            return visit(event, context)
        finally:
            if not messages_in(event):  # parts of one tick run at the same time
                _tell(runtime().reconciler.ports, runtime().clock())

    return handler


def _tell(ports: Ports, now: datetime) -> None:
    """Tell what is due of overrides; should it fail between event and note, it is told twice rather than never."""
    for news, override in untold(ports.store.overrides(), now):
        ports.events.tell(news, override, now)
        ports.store.tell_override(replace(override, told=news))


handler = make_handler(from_environment)
