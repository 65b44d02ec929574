"""How the deployed functions reach AWS."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from core.aws import clients, clock
from tests.contract.aws.stubs import Client


@pytest.mark.parametrize(
    "make",
    [
        clients.application_autoscaling,
        clients.cloudwatch,
        clients.dynamodb,
        clients.sagemaker,
        clients.tagging,
    ],
    ids=lambda make: make.__name__,
)
def test_no_dead_call_uses_up_a_pass(make: Callable[[], Client]) -> None:
    config = make().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert make() is make()


def test_the_clock_shows_aware_utc() -> None:
    assert clock.now().tzinfo is UTC
    assert clock.now() - clock.now() < timedelta(seconds=1)


@pytest.mark.parametrize("sent", [1763454600, 1763454600.5, "2025-11-18T08:30:00Z"])
def test_times_of_answers_are_aware(sent: float | str) -> None:
    read = clients._utc(sent)  # noqa: SLF001 - botocore calls it
    assert read.utcoffset() == timedelta(0)
    assert read.replace(microsecond=0) == datetime(2025, 11, 18, 8, 30, tzinfo=UTC)
