"""How properties are searched, and of which tests coverage is measured."""

import os
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest
from hypothesis import HealthCheck, settings

# The same examples in every gate, others on request; a busy machine is no fault.
settings.register_profile("gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

os.environ.pop("COLUMNS", None)  # readline sets it for the processes of pytest-xdist; tables are as wide as in a pipe

HERE = Path(__file__).parent
LONG = [
    *(
        HERE / folder
        for folder in ("browser", "chaos", "contract/http", "contract/simulator", "docs", "e2e", "property", "replay")
    ),
    *(HERE / "unit" / part for part in ("cli", "local_account", "simulator")),
    *(HERE / "unit" / f"test_{what}.py" for what in ("benchmarks", "permissions", "readme")),
]
"""These play hours and days, decide thousands of times, or test tools. To trace each line would take twice as long."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Measure the coverage of the tests of parts only, their fixtures included."""
    measuring = coverage.Coverage.current()
    if measuring is None or not any(item.path.is_relative_to(place) for place in LONG):
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()
