"""Every call of every pass times every fault, document and table away or lost, and 100,000 mutated events: `make chaos`.

Prints the matrix and exits 1 if anything did not hold: `python -m tests.chaos --seed 8 --cells 500 --events 2000`.
"""

import argparse
import os
import sys
import time
from collections import Counter
from random import Random

from rich.console import Console
from rich.table import Table

from env.lint_template import translate
from simulator.stack import MAKERS
from tests.chaos import branches
from tests.chaos.check import Cell, cells
from tests.chaos.disasters import DISASTERS
from tests.chaos.faults import KINDS
from tests.chaos.mutations import Fuzz
from tests.chaos.story import moments
from tests.chaos.wire import the_wire
from tests.rights import Deployed, refused, unused

AAS = "application-autoscaling"
SPARE = {
    **{
        (name, f"sagemaker:{listed}"): "in a warm execution environment; here each is fresh"
        for name in MAKERS
        for listed in ("ListEndpoints", "ListInferenceComponents")
    },
    **{
        (name, read): "after the table was lost, for a target whose kind it owns"
        for name in ("RealtimeTarget", "BatchWindow", "Override")
        for read in (f"{AAS}:DescribeScalingPolicies", "scheduler:GetSchedule")
    },
    ("AsyncQueue", f"{AAS}:DescribeScalingPolicies"): "after the table was lost",
    ("FleetSync", "scheduler:GetSchedule"): "after the table was lost, if it comes by before the owner",
    **{
        (name, f"{AAS}:DescribeScalingActivities"): "when SageMaker refused instances, to say why"
        for name in ("AsyncQueue", "BatchWindow", "Override")
    },
    ("BatchWindow", "cloudwatch:GetMetricData"): "for a window that is told in requests or items",
    ("Override", f"{AAS}:DeleteScheduledAction"): "when bounds are the policy's own again",
}
"""Function and action of each right that this story may never need, and when it is; `test_permissions` needs each."""


def main() -> None:
    """Strike, print, and tell by the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the events, and of the choice of cells")
    parser.add_argument("--cells", type=int, default=0, help="take so many cells by chance; 0 takes all")
    parser.add_argument("--events", type=int, default=100_000, help="mutated events")
    given = parser.parse_args()
    console, began = Console(width=120), time.monotonic()
    every = list(cells(moments()))
    chosen = Random(given.seed).sample(every, given.cells) if given.cells else every  # noqa: S311 - no secret
    problems: list[str] = []
    for moment in moments():
        own = [cell for cell in chosen if cell.moment is moment]
        found = list(branches.problems(moment, own)) if own else []
        console.print(f"{moment.name}: {len(own):,} struck, {len(found)} problems", highlight=False)
        for problem in found:
            console.print(problem, soft_wrap=True, markup=False, highlight=False)
        problems += found
    console.print(_matrix(Counter((cell.moment.function, _column(cell)) for cell in chosen)))
    calls = {(cell.call.service, cell.call.operation) for cell in chosen}
    minutes, busy = (time.monotonic() - began) / 60, sum(os.times()[:4]) / 60
    console.print(
        f"{len(chosen):,} struck passes of {len(every):,} ({len(moments())} moments, {len(calls)} operations) in "
        f"{minutes:.1f} min, {busy:.1f} of them of CPU: {len(problems)} problems"
    )
    problems += _disasters(console, Random(given.seed), each=2 if given.cells else len(moments()))  # noqa: S311 - no secret
    problems += _rights(console)
    fuzz = Fuzz(given.seed).run(given.events)
    said = ", ".join(f"{name} {count:,}" for name, count in sorted(fuzz.counts.items()))
    console.print(f"{given.events:,} mutated events: {said}: {len(fuzz.problems)} problems")
    for problem in fuzz.problems[:20]:
        console.print(problem, soft_wrap=True, markup=False, highlight=False)
    sys.exit(bool(problems or fuzz.problems))


def _disasters(console: Console, chance: Random, each: int) -> list[str]:
    """Let every disaster befall some passes; say how many and what did not hold."""
    problems: list[str] = []
    for disaster in DISASTERS:
        chosen = chance.sample(moments(), each)
        found = [problem for moment in chosen for problem in disaster.problems(moment)]
        console.print(f"{disaster.name}: {len(chosen)} passes, {len(found)} problems", highlight=False)
        for problem in found:
            console.print(problem, soft_wrap=True, markup=False, highlight=False)
        problems += found
    return problems


def wrong_rights() -> list[str]:
    """Compare what was called with what `template.yaml` allows; say what is refused or for nothing."""
    deployed, calls = Deployed(translate()), the_wire().asked
    wrong = [f"rights: {call} is not allowed" for call in sorted(refused(deployed, calls), key=str)]
    spare = [(name, *right) for name in MAKERS for right in sorted(unused(deployed, name, calls))]
    wrong += [f"rights: {function} never needs {what}" for function, *what in spare if (function, what[0]) not in SPARE]
    return wrong


def _rights(console: Console) -> list[str]:
    """Say what is wrong with the rights, after all these passes."""
    wrong, calls = wrong_rights(), the_wire().asked
    pairs = {(call.function, call.action) for call in calls}
    console.print(f"{len(pairs)} actions called by {len(MAKERS)} functions: {len(wrong)} problems", highlight=False)
    for problem in wrong:
        console.print(problem, soft_wrap=True, markup=False, highlight=False)
    return wrong


def _column(cell: Cell) -> str:
    return cell.kind.name if cell.kind else "killed"


def _matrix(struck: Counter[tuple[str, str]]) -> Table:
    """Return how many passes of each function were struck by each fault."""
    functions = sorted({function for function, _ in struck})
    table = Table(title="Struck passes")
    table.add_column("fault")
    for function in (*functions, "all"):
        table.add_column(function, justify="right")
    for name in (*(kind.name for kind in KINDS), "killed"):
        row = [struck[function, name] for function in functions]
        table.add_row(name, *(f"{count:,}" for count in (*row, sum(row))))
    return table


if __name__ == "__main__":
    main()
