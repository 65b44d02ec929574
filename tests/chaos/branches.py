"""All faults of one pass at the price of little more than one: the process forks at each call.

A child goes on from there with its fault, says what was left, and ends. Worlds that are left alike are healed once.
"""

import gc
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence

from tests.chaos.check import Cell, Left, twin, unhealed
from tests.chaos.passes import Build, Patience, invoke, runtime
from tests.chaos.story import Moment, replayed
from tests.chaos.wire import Answer, Attempt, Fault, the_wire


def problems(moment: Moment, chosen: Sequence[Cell], build: Build = runtime) -> Iterator[str]:
    """Strike these calls of one pass, and let the healthy pass follow; yield what does not hold."""
    healed: dict[object, tuple[str, ...]] = {}
    for cell, left in struck(moment, chosen, build):
        if left.world not in healed:
            healed[left.world] = tuple(unhealed(moment, left.world, build))
        yield from (f"{cell.name}: {problem}" for problem in (*left.problems, *healed[left.world]))


def struck(moment: Moment, chosen: Sequence[Cell], build: Build = runtime) -> list[tuple[Cell, Left]]:
    """Play the pass once and return what each of these cells left."""
    waiting = {number: [c for c in chosen if c.call.number == number] for number in {c.call.number for c in chosen}}
    found: list[tuple[Cell, Left]] = []
    mine: list[tuple[Cell, Callable[[Left], None]]] = []

    def arm(patience: Patience) -> Fault:
        armed: list[Fault] = []

        def answer(attempt: Attempt) -> Answer:
            for cell in waiting.pop(attempt.call.number, ()) if not mine else ():
                left, tell = _forked()
                if tell is not None:
                    mine.append((cell, tell))
                    armed.append(cell.arm(patience))
                    break
                if left is None:
                    raise AssertionError(f"{cell.name}: the child died")
                found.append((cell, left))
            return armed[0](attempt) if armed else attempt.happen()

        return answer

    clean, cloud = twin(moment), replayed(moment)
    gc.freeze()  # what children do not touch is not copied
    try:
        ran = invoke(cloud, moment.function, moment.event, arm, build)
        for cell, tell in mine:
            tell(cell.judged(clean, cloud, ran))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        if mine:  # a child; nothing of what its parent was about to do is its business
            sys.stderr.flush()
            os._exit(0)
    if waiting:
        raise AssertionError(f"{moment.name}: no call {sorted(waiting)}")
    return found


def _forked() -> tuple[Left | None, Callable[[Left], None] | None]:
    """Fork. The parent waits and gets what the child tells, None if it died; the child gets the means to tell."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        gc.disable()
        os.close(reading)
        the_wire().asked.clear()

        def tell(left: Left) -> None:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump((left, the_wire().asked), pipe)

        return None, tell
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if not told:
        return None, None
    left, asked = pickle.loads(told)  # noqa: S301 - the child's own
    the_wire().asked.update(asked)
    return left, None
