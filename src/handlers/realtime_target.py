"""RealtimeTarget owns real-time targets: each tick, and when one of their alarms changes state."""

from functools import partial

from core.model import Kind
from handlers.wiring import from_environment, make_owner

make_handler = partial(make_owner, lambda e, _: e.profile.kind is Kind.REALTIME, tunes=True)
handler = make_handler(from_environment)
