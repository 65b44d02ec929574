"""The controller dies at random minutes of the shipped traces: what the next 24 hours cost those who asked.

`python -m bench.killed --kills 4` prints a table: requests in overloaded minutes of those 24 hours, of what a dead
Tidegate leaves behind, of plain target tracking at 0.5 and 0.7 on the same minutes, and of Tidegate had it lived. With
`--before 0.35` the user tracked requests at that before Tidegate adopted the endpoint, and dead is compared with that.
"""

import argparse
import multiprocessing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.table import Table

from simulator.baselines import run
from simulator.cases import DAY, Case, Course, Mode, Planned, standing
from simulator.judge import joining
from simulator.replay import Replay

AFTER = DAY
"""Minutes after the kill that are judged."""

Share = float
"""Of the requests of those minutes, those in minutes without enough instances, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One kill: who was asked in vain in the 24 hours after it, and what they cost in instance-hours."""

    trace: str
    group: str
    minute: int
    harmed: Mapping[str, Share]
    hours: Mapping[str, float]


DEAD, ALIVE = "dead", "alive"
ALL = "all"


def deaths(planned: Planned, kills: int, seed: int, before: float | None = None) -> Iterator[Death]:
    """Kill the controller at so many minutes of a trace that is played in real time, each in a world of its own.

    `before` is the share of what an instance serves that the user's own policy tracked before adoption.
    """
    case = planned.case()
    last = len(case.requests) - AFTER
    minutes = sorted(Random(f"{seed} {case.trace}").sample(range(case.warmup, last), kills))  # noqa: S311 - no secret
    plain = {f"AAS {share:g}": run("aas-target-tracking", f"{share:g}", case) for share in shares(before)}
    played, courses = Replay(case, joins=joining(case), before=before), list[Course]()
    for minute in minutes:
        played.run(minute - played.minute)
        courses.append(_in_child(played))
    played.run(minutes[-1] + AFTER - played.minute)
    alive = played.result().course
    for minute, dead in zip(minutes, courses, strict=True):
        found = {DEAD: dead, ALIVE: alive, **plain}
        part = slice(minute, minute + AFTER)
        yield Death(
            trace=case.trace,
            group=planned.group,
            minute=minute,
            harmed={name: harmed(case, course, minute) for name, course in found.items()},
            hours={name: float(course.billed[part].sum() / 60) for name, course in found.items()},
        )


def shares(before: float | None) -> tuple[float, ...]:
    """Return where plain tracking is played: first what dead may be no worse than."""
    return (0.5, 0.7) if before is None else (before, 0.5)


def harmed(case: Case, course: Course, minute: int) -> Share:
    """Return what became of the requests of the 24 hours from `minute` on."""
    part = slice(minute, minute + AFTER)
    load = case.requests[part]
    return float(load[case.needed[part] > course.ready[part]].sum() / max(1, load.sum()))


def die(played: Replay) -> Course:
    """Kill the controller and go on."""
    played.stack.stop()
    played.run(AFTER)
    return played.result().course


def _in_child(played: Replay) -> Course:
    """Let the controller die in a copy of this process: a replay is full of what cannot be copied otherwise."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(die(played)))
    child.start()
    there.close()
    found: Course = here.recv()
    child.join()
    return found


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, default=Path("traces"), help="folder of the traces")
    parser.add_argument("--kills", type=int, default=4, help="of each trace")
    parser.add_argument("--seed", type=int, default=1, help="of the minutes")
    parser.add_argument("--before", type=float, help="share that the user tracked before adoption; none if not given")
    parser.add_argument("--only", nargs="*", help="names of traces; all if not given")
    given = parser.parse_args()
    console = Console(width=120)
    found = list[Death]()
    cases = {
        planned.path.name.partition(".")[0]: planned
        for planned in standing(given.traces)
        if planned.mode is Mode.REALTIME
    }
    if unknown := sorted({*(given.only or ())} - {*cases}):
        parser.error(f"--only {' '.join(unknown)}: must be of {', '.join(cases)}")
    for name, planned in cases.items():
        if given.only is None or name in given.only:
            own = list(deaths(planned, given.kills, given.seed, given.before))
            console.print(f"{own[0].trace}: " + "; ".join(map(_said, own)), highlight=False)
            found += own
    console.print(table(found, given.before))


def _said(death: Death) -> str:
    return f"minute {death.minute} " + ", ".join(f"{name} {share:.2%}" for name, share in death.harmed.items())


def table(found: list[Death], before: float | None = None) -> Table:
    """Return the mean of each trace and of all, and in how many of the kills dead is no worse than plain AAS."""
    plain = [f"AAS {share:g}" for share in shares(before)]
    names = (DEAD, *plain, ALIVE)
    shown = Table(title="Requests in overloaded minutes, instance-hours; 24 hours after a kill")
    shown.add_column("trace")
    for name in (*names, f"no worse than {shares(before)[0]:g}"):
        shown.add_column(name, justify="right")
    for trace in (*dict.fromkeys(death.trace for death in found), ALL):
        own = [death for death in found if trace in {death.trace, ALL}]
        means = [
            f"{np.mean([d.harmed[n] for d in own]):.2%}, {np.mean([d.hours[n] for d in own]):.0f} h" for n in names
        ]
        held = sum(death.harmed[DEAD] <= death.harmed[plain[0]] for death in own)
        shown.add_row(trace, *means, f"{held} of {len(own)}")
    return shown


if __name__ == "__main__":
    main()
