"""How figures are said on the pages: cost ÷ clairvoyant and share violated or late, of one trace and of several."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from typing_extensions import override

from cli.backtest import harmed
from simulator.scores import Score


class Figure(NamedTuple):
    """Cost by the clairvoyant's, None where that has none, and the share of requests violated or late."""

    cost: float | None
    harmed: float

    @override
    def __str__(self) -> str:
        """As in the cells of all tables."""
        return f"{'-' if self.cost is None else f'{self.cost:.2f}'} / {self.harmed:.2%}"


def figure(score: Score) -> Figure:
    """Return what one course is worth."""
    return Figure(score.cost_ratio, harmed(score))


def mean(scores: Sequence[Score]) -> Figure:
    """Return the geometric mean of the cost and the arithmetic mean of the share."""
    known = [cost for score in scores if (cost := score.cost_ratio) is not None]
    cost = math.exp(statistics.fmean(map(math.log, known))) if known and min(known) > 0 else None
    return Figure(cost, statistics.fmean(map(harmed, scores)))


def name(score: Score) -> str:
    """Return what a policy is called in the first column."""
    said = f"{score.policy} {score.knob}".rstrip()
    return f"**{said}**" if score.policy == "tidegate" else said


def row(cells: Iterable[object]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(cells: Sequence[object]) -> tuple[str, str]:
    """Return the first two lines of a table."""
    return row(cells), f"|{'---|' * len(cells)}"
