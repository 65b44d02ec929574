"""A smaller seed of `make chaos`: struck passes, mutated events, and proof that the harness can fail."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from random import Random
from typing import Any

import pytest

from core.aws.sagemaker import SageMaker
from core.model import Envelope
from handlers.wiring import LambdaContext, LambdaHandler, Runtime
from simulator.stack import MAKERS
from tests.chaos.__main__ import wrong_rights
from tests.chaos.check import Cell, cells
from tests.chaos.cloud import CloudAccount
from tests.chaos.faults import KINDS
from tests.chaos.mutations import Fuzz
from tests.chaos.passes import Build, invoke
from tests.chaos.story import Moment, moments, replayed
from tests.chaos.unsafe import CHANGES, Unsafe, with_parts
from tests.chaos.wire import Call, the_wire
from tests.rights import ROOT


def sample(seed: int) -> Iterator[Cell]:
    """Yield one cell of each column, of the functions in turn; `make chaos` takes them all.

    By chance alone most would be FleetSync's, which makes half of all calls.
    """
    every, functions = list(cells(moments())), cycle(sorted(MAKERS))
    chance = Random(seed)  # noqa: S311 - a choice of cells, not a secret
    for kind in (*KINDS, None):
        column = [cell for cell in every if cell.kind is kind]
        own = next(own for name in functions if (own := [cell for cell in column if cell.moment.function == name]))
        yield chance.choice(own)


def while_a_forecast_orders() -> Iterator[Cell]:
    """Yield cells of passes that raise a target value: what SageMaker shows is old, and each operation beside an order.

    A read fails; after a write the execution environment is gone.
    """
    raising = [moment for moment in moments() if _calls(moment, "CreateSchedule")]
    ordering = next(moment for moment in raising if _calls(moment, "RegisterScalableTarget"))
    stale = (cell for cell in cells(tuple(raising)) if cell.call.service == "sagemaker" and _named(cell, "stale read"))
    struck = (cell for cell in cells((ordering,)) if _named(cell, "5xx" if cell.call.reads else "killed"))
    yield from stale
    yield from {cell.call.operation: cell for cell in struck}.values()


def _calls(moment: Moment, operation: str) -> bool:
    return any(call.operation == operation for call in moment.calls)


def _named(cell: Cell, kind: str) -> bool:
    return (cell.kind.name if cell.kind else "killed") == kind


def test_no_fault_lowers_lasts_lies_or_spreads() -> None:
    assert [problem for cell in sample(8) for problem in cell.problems()] == []


def test_no_fault_lowers_lasts_lies_or_spreads_while_a_forecast_orders() -> None:
    chosen = list(while_a_forecast_orders())
    assert len({cell.call.operation for cell in chosen}) > 12
    assert [problem for cell in chosen for problem in cell.problems()] == []


BRANCHED = """
import pickle, sys
from tests.chaos import branches, check, unsafe
moment, build = pickle.load(sys.stdin.buffer), unsafe.with_parts(unsafe.Boundless)
chosen = list(check.cells((moment,)))[-30:]
forked = branches.struck(moment, chosen, build)
assert forked == [(cell, cell.struck(build)) for cell in chosen]
assert any(problem.startswith("bounds: ") for _, left in forked for problem in left.problems)
"""


def test_a_pass_that_forks_at_each_call_leaves_what_is_left_one_by_one() -> None:
    """In a process of its own: this one has threads, and who forks with threads may hang."""
    moment = next(m for m in moments() if m.function == "BatchWindow" and _calls(m, "RegisterScalableTarget"))
    told = subprocess.run([sys.executable, "-c", BRANCHED], input=pickle.dumps(moment), cwd=ROOT, check=False)  # noqa: S603 - ours
    assert told.returncode == 0


def test_what_every_pass_of_the_story_calls_is_allowed_and_what_is_allowed_is_called() -> None:
    moments()
    assert {call.function for call in the_wire().asked} == set(MAKERS)
    assert wrong_rights() == []


def warm(moment: Moment, kind: type[SageMaker] = SageMaker) -> Build:
    """Return the runtime of an execution environment that made the same pass some minutes before."""
    clients = the_wire().clients
    kept = kind(lambda: clients["sagemaker"], lambda: clients["resourcegroupstaggingapi"])
    build = with_parts(serving=lambda: kept)
    assert invoke(CloudAccount.of(moment.past), moment.function, moment.event, build=build).error is None
    return build


def listing(moment: Moment) -> Call | None:
    """Return the call by which a pass in a warm environment finds out what changed, None if it makes none."""
    ran = invoke(replayed(moment), moment.function, moment.event, build=warm(moment))
    return next((call for call in ran.calls if call.operation == "ListEndpoints"), None)


@pytest.mark.parametrize("fault", ["stale read", "partial answer", "access denied"])
def test_what_was_described_before_is_believed_only_with_the_list(fault: str) -> None:
    """A pass that describes only what changed leaves what one leaves that describes all, whatever becomes of the list."""
    passes = [moment for moment in moments() if moment.function == "RealtimeTarget"][:2]
    kind = next(kind for kind in KINDS if kind.name == fault)
    struck = [Cell(moment=moment, call=call, kind=kind) for moment in passes if (call := listing(moment))]
    assert len(struck) > 1
    assert [problem for cell in struck for problem in cell.problems(warm(cell.moment))] == []


@pytest.mark.parametrize("unsafe", CHANGES, ids=lambda unsafe: unsafe.name)
def test_an_unsafe_change_is_caught(unsafe: Unsafe) -> None:
    shown = [cell for cell in cells(moments()) if unsafe.shows(cell)]
    found = (problem for cell in shown[:8] for problem in cell.problems(unsafe.build))
    assert any(f": {unsafe.problem}: " in problem for problem in found)


def test_a_mutated_event_is_refused_clearly_or_changes_nothing() -> None:
    fuzz = Fuzz(seed=8).run(2000)
    assert fuzz.problems == []
    assert all(fuzz.counts[f"{name} passed"] > 100 for name in ("RealtimeTarget", "FleetSync", "BatchWindow"))
    assert min(fuzz.counts[name] for name in ("Override refused", "Override passed", "PolicyValidator accepted")) > 5


def believing(runtime: Any) -> LambdaHandler:
    """An owner that takes what an event says for what is."""

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        tidegate: Runtime = runtime()
        when = tidegate.begin(context)
        if event.get("detail", {}).get("state", {}).get("value") == "ALARM":
            for enrolment in tidegate.reconciler.enrolments(tidegate.reconciler.ports.policies.fleet()):
                tidegate.reconciler.ports.autoscaling.register(enrolment.target, Envelope(3, 3))
        return tidegate.finish(context, tidegate.reconciler.run(lambda _: True, when))

    return handler


@pytest.mark.parametrize("problem", ["AttributeError", "though nothing was due"])
def test_a_handler_that_believes_its_event_is_caught(problem: str) -> None:
    found = Fuzz(seed=8, makers={"RealtimeTarget": believing}).run(300).problems
    assert any(problem in each for each in found)
