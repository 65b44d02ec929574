"""Scripted answers for what neither moto nor the simulator shows: failures, odd pages, broken values."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.stub import Stubber

Client = Any
"""boto3 has one type a service; a script plays any of them."""


@cache
def client(service: str) -> Client:
    """Return the one client of a service; loading SageMaker's model takes longer than all its tests."""
    return boto3.Session("testing", "testing", region_name="eu-central-1").client(service)  # type: ignore[call-overload]  # any service


@contextmanager
def scripted(service: str) -> Iterator[tuple[Client, Stubber]]:
    """Give a client and its script; every scripted answer must have been asked for in the end."""
    with Stubber(client(service)) as script:
        yield client(service), script
        script.assert_no_pending_responses()
