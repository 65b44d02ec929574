"""What an instance type has: SageMaker's CPU and GPU percentages run to 100 times the count (facts 3.1).

The data is a file, written by `tidegate catalogue refresh` from sources that others maintain.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def _types() -> Mapping[str, Mapping[str, float]]:
    """Return the catalogue by instance type; read once, by the only function that enrols."""
    found: dict[str, dict[str, float]] = json.loads(files("core").joinpath("instance_types.json").read_bytes())["types"]
    return found


def vcpus_of(instance_type: str) -> int | None:
    """Return the vCPUs of an instance type, or None where the catalogue does not know it."""
    return _count(instance_type, "vcpus")


def gpus_of(instance_type: str) -> int | None:
    """Return the GPUs of an instance type, or None where the catalogue does not know it."""
    return _count(instance_type, "gpus")


def _count(instance_type: str, what: str) -> int | None:
    known = _types().get(instance_type)
    return None if known is None else int(known[what])
