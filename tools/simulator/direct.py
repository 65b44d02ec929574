"""The adapters of `core.aws` over a simulated account without botocore, for replays of weeks.

What is rare goes through the same adapter by a plain client. What each pass asks is answered from the account's own
state. Both are held to the contract of the other adapters (`tests/contract/aws`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from botocore.exceptions import ClientError
from typing_extensions import override

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch, newest_complete_minute, observed
from core.aws.sagemaker import SageMaker
from core.model import Capacity, Envelope, Missing, Observation, Point, ScalableTarget
from core.ports import MetricQuery, Registration
from simulator.account import SimulatedAccount
from simulator.metrics import epoch_minute, from_epoch_minute, statistic
from simulator.service import ServiceError

TOKENS = ("NextToken", "PaginationToken")


@dataclass(frozen=True, slots=True)
class PlainClient:
    """What boto3's client of one service answers, without what takes it its time: HTTP, parsing, models.

    Writes are still validated; answers to reads are the account's own, to be looked at and not to be changed.
    """

    account: SimulatedAccount
    service: str

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        name = "".join(word.capitalize() for word in operation.split("_"))

        def call(**params: object) -> dict[str, Any]:
            try:
                if name.startswith(("Describe", "Get", "List")):
                    return self.account.read(self.service, name, params)
                return self.account.call(self.service, name, params)
            except ServiceError as error:
                raise ClientError({"Error": {"Code": error.code, "Message": error.message}}, name) from error

        return call

    def get_paginator(self, operation: str) -> "Paginator":
        """Return the pages of an operation."""
        return Paginator(getattr(self, operation))


@dataclass(frozen=True, slots=True)
class Paginator:
    """Follows tokens."""

    call: Callable[..., dict[str, Any]]

    def paginate(self, **params: object) -> Iterator[dict[str, Any]]:
        """Yield page after page."""
        more: dict[str, object] = {}
        while True:
            page = self.call(**params, **more)
            yield page
            more = {token: page[token] for token in TOKENS if page.get(token)}
            if not more:
                return


class _Known(NamedTuple):
    """What a metric's minutes were when they were read, None for silence; true while nothing is revised."""

    revised: int
    points: dict[int, Point | None]


class DirectMetrics(CloudWatch):
    """CloudWatch of a simulated account."""

    def __init__(self, account: SimulatedAccount) -> None:
        super().__init__(cast("Any", PlainClient(account, "cloudwatch")))
        self._account = account
        self._known: dict[MetricQuery, _Known] = {}

    @override
    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        """Return the last `span` of complete minutes of each metric, or why it is missing or stale."""
        if self._account.scripted:
            return super().fetch(queries, now, span)
        service = self._account.cloudwatch
        end = newest_complete_minute(now) + timedelta(minutes=1)
        last = epoch_minute(end)
        start = (end - span).replace(second=0, microsecond=0)
        minutes = range(epoch_minute(start), min(last, service.newest_minute + 1))
        return {
            query: observed(self._series(query, minutes), end, start if query.sparse else None) for query in queries
        }

    def _series(self, query: MetricQuery, minutes: range) -> list[Point]:
        """Return the points of these minutes; those seen before as they were, unless something was revised."""
        store = self._account.cloudwatch.store
        known = self._known.get(query)
        if known is None or known.revised != store.revised:
            known = self._known[query] = _Known(store.revised, {})
        points = known.points
        points.update((minute, self._point(query, minute)) for minute in minutes if minute not in points)
        store.judged = max(store.judged, minutes.stop - 1)
        return [point for minute in minutes if (point := points[minute]) is not None]

    def _point(self, query: MetricQuery, minute: int) -> Point | None:
        key = (query.namespace, query.name, tuple(sorted(query.dimensions)))
        datum = self._account.cloudwatch.store.read(key, minute, 1)
        return None if datum is None else Point(from_epoch_minute(minute), statistic(datum, query.stat))

    @override
    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the state of those alarms that exist."""
        if self._account.scripted:
            return super().alarm_states(names)
        alarms = self._account.cloudwatch.alarms
        return {name: alarms[name].state.value for name in names if name in alarms}


class DirectAutoscaling(ApplicationAutoScaling):
    """AAS of a simulated account."""

    def __init__(self, account: SimulatedAccount) -> None:
        super().__init__(cast("Any", PlainClient(account, "application-autoscaling")))
        self._account = account

    @override
    def registered(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Registration]:
        """Return the registration of those targets that have one."""
        known = self._account.autoscaling.targets
        found = {target: known.get(target.resource_id) for target in targets}
        if self._account.scripted or any(seen and any(seen.suspended.values()) for seen in found.values()):
            return super().registered(targets)
        return {target: Registration(Envelope(seen.minimum, seen.maximum)) for target, seen in found.items() if seen}


class DirectServing(SageMaker):
    """SageMaker of a simulated account."""

    def __init__(self, account: SimulatedAccount) -> None:
        sagemaker, tagging = PlainClient(account, "sagemaker"), PlainClient(account, "resourcegroupstaggingapi")
        super().__init__(lambda: cast("Any", sagemaker), lambda: cast("Any", tagging))
        self._account = account

    @override
    def capacity(self, target: ScalableTarget) -> Capacity | Missing:
        """Return the counts and status of the variant, Missing if endpoint or variant is gone."""
        names = target.names
        endpoint = self._account.sagemaker.endpoints.get(names.get("EndpointName", ""))
        variant = endpoint.variants.get(names["VariantName"]) if endpoint else None
        if self._account.scripted or endpoint is None or variant is None or endpoint.status == "Creating":
            return super().capacity(target)
        counts = (variant.current_count, variant.desired_count)
        return Capacity(*counts, endpoint.status, endpoint.created, endpoint.config_name)
