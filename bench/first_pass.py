"""A cold start from nothing to the end of its first pass: prints seconds of import, of both, and of CPU for both.

Run by `bench.artefact` in a bare interpreter, `python -I -S -B first_pass.py ARTEFACT ANSWERS`: it sees the standard
library and the artefact alone. AWS's answers are those that `bench.scale record` wrote down; what AWS, TLS and Lambda
themselves take is not in it.
"""

import shelve
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from typing import Any

sys.path.append(sys.argv[0].rpartition("/bench/")[0])
from bench.invocation import Invocation, named

sys.path[-1] = sys.argv[1]


class Raw(BytesIO):
    """The body of an answer, as urllib3 hands it over."""

    def stream(self, **_: object) -> Iterator[bytes]:
        """Return it whole."""
        yield self.read()


with shelve.open(sys.argv[2], "r") as shelf:  # noqa: S301 - our own
    answers = dict(shelf)
times = Counter[str]()

began, cpu = time.perf_counter(), time.process_time()
from handlers import realtime_target  # noqa: E402

imported, cpu = time.perf_counter() - began, time.process_time() - cpu

import botocore.session  # noqa: E402
from botocore.awsrequest import AWSResponse  # noqa: E402

from core.aws import clock  # noqa: E402


def send(request: Any, event_name: str, **_: object) -> AWSResponse:  # noqa: ANN401 - a prepared request
    """Answer below retries, signing and parsing."""
    status, content, headers = answers[named(0, event_name.split(".")[2], request.body, times)]
    return AWSResponse(request.url, status, headers, Raw(content))


def session(env_vars: dict[str, Any] | None = None) -> botocore.session.Session:  # noqa: ARG001 - botocore's own
    """Return a new session each time, as botocore does, that is answered here."""
    made = botocore.session.Session()
    emitter: Any = made.get_component("event_emitter")
    emitter.register_first("before-send", send)
    return made


botocore.session.get_session = session
clock.now = lambda: answers["0 at"]
with redirect_stdout(StringIO()):
    began, cpu = time.perf_counter(), time.process_time() - cpu
    realtime_target.handler({"trigger": "schedule"}, Invocation(50))
    passed, cpu = time.perf_counter() - began, time.process_time() - cpu
print(imported, imported + passed, cpu)
