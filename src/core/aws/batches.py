"""Cuts long lists to what one AWS call takes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Return the items, each once, in lists of at most `size`; no items, no list, no call."""
    once = iter(dict.fromkeys(items))
    while batch := list(islice(once, size)):
        yield batch
