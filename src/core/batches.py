"""Cuts long lists to what one call takes, or what fits in memory."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Return the items in lists of at most `size`; no items, no list, no call."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
