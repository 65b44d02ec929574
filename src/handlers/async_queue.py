"""AsyncQueue owns asynchronous targets: each tick, and when a queue wakes or falls idle."""

from functools import partial

from core.model import Kind
from handlers.wiring import from_environment, make_owner

make_handler = partial(make_owner, lambda e, _: e.profile.kind is Kind.ASYNC)
handler = make_handler(from_environment)
