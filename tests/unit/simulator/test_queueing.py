"""The queueing model against closed formulas (M/M/1, M/M/k, loss) and against simulated events, within sampling error."""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.queueing import LOADS, QUANTILES, QUEUE_PER_SLOT, Server, states, unserved

P50, P95 = QUANTILES.index(0.5), QUANTILES.index(0.95)


def row(load: float) -> int:
    """The tabulated load."""
    found = int(np.argmin(abs(LOADS - load)))
    assert LOADS[found] == pytest.approx(load)
    return found


def erlang_c(slots: int, load: float) -> float:
    """Share that has to wait in an endless queue (Erlang 1917)."""
    offered = slots * load
    terms = [offered**n / math.factorial(n) for n in range(slots)]
    waiting = offered**slots / math.factorial(slots) / (1 - load)
    return waiting / (sum(terms) + waiting)


class TestClosedFormulas:
    @pytest.mark.parametrize("load", [0.0, 0.5, 0.8, 0.9])
    def test_one_slot_and_an_endless_queue(self, load: float) -> None:
        """M/M/1: latency is exponential with mean 1 / (1 - rho); rho^2 / (1 - rho) wait."""
        table, at = states(1, 300), row(load)
        assert table.mean[at] == pytest.approx(1 / (1 - load), rel=1e-6)
        assert table.waiting[at] == pytest.approx(load**2 / (1 - load), rel=1e-6)
        for quantile, want in ((P50, 0.5), (P95, 0.95)):
            assert table.quantiles[at, quantile] == pytest.approx(-math.log(1 - want) / (1 - load), rel=0.005)

    @pytest.mark.parametrize("slots", [2, 4, 8])
    @pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
    def test_several_slots_and_an_endless_queue(self, slots: int, load: float) -> None:
        """M/M/k: C rho / (1 - rho) wait, and by Little's law C / (k (1 - rho)) service times."""
        table, at, share = states(slots, 300), row(load), erlang_c(slots, load)
        assert table.waiting[at] == pytest.approx(share * load / (1 - load), rel=1e-6)
        assert table.mean[at] == pytest.approx(1 + share / (slots * (1 - load)), rel=1e-6)

        def later(t: float) -> float:  # P(latency > t): a wait of rate theta, then a service of rate 1
            theta = slots * (1 - load)
            both = (theta * math.exp(-t) - math.exp(-theta * t)) / (theta - 1)
            return (1 - share) * math.exp(-t) + share * both

        assert later(table.quantiles[at, P95]) == pytest.approx(0.05, rel=0.01)

    @pytest.mark.parametrize(("slots", "queue", "load"), [(1, 1, 1.0), (1, 4, 0.5), (1, 4, 0.9)])
    def test_loss_of_one_slot(self, slots: int, queue: int, load: float) -> None:
        """M/M/1/K: (1 - rho) rho^K / (1 - rho^(K+1)), and 1 / (K + 1) at rho = 1."""
        places = slots + queue
        want = 1 / (places + 1) if load == 1 else (1 - load) * load**places / (1 - load ** (places + 1))
        assert states(slots, queue).loss[row(load)] == pytest.approx(want, rel=1e-6)

    def test_far_above_what_it_can_do_the_rest_is_lost(self) -> None:
        assert states(4, 160).loss[-1] == pytest.approx(1 - 1 / LOADS[-1], rel=1e-3)
        assert states(4, 160).waiting[-1] == pytest.approx(160, rel=1e-3)


@dataclass
class Simulated:
    """One instance, event by event; minutes of served, failed, waiting at the end, and latencies."""

    server: Server
    seed: int
    served: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    latencies: list[list[float]] = field(default_factory=list)

    def play(self, loads: list[int]) -> "Simulated":
        draw = random.Random(self.seed)  # noqa: S311 - a simulation
        busy: list[tuple[float, float]] = []  # when done, when arrived
        queue: deque[float] = deque()

        def begin(now: float, arrived: float) -> None:
            heapq.heappush(busy, (now + draw.expovariate(1 / self.server.service_seconds), arrived))

        def finish(until: float) -> None:
            while busy and busy[0][0] <= until:
                now, arrived = heapq.heappop(busy)
                self.served[-1] += 1
                self.latencies[-1].append(now - arrived)
                if queue:
                    begin(now, queue.popleft())

        for minute, load in enumerate(loads):
            for kept in (self.served, self.failed):
                kept.append(0)
            self.latencies.append([])
            now, end = 60.0 * minute, 60.0 * (minute + 1)
            while load and (now := now + draw.expovariate(load / 60.0)) < end:
                finish(now)
                if len(busy) < self.server.slots:
                    begin(now, now)
                elif len(queue) < self.server.queue:
                    queue.append(now)
                else:
                    self.failed[-1] += 1
            finish(end)
            self.waiting.append(len(queue))
        return self


class TestAgainstEvents:
    @pytest.mark.parametrize(
        ("slots", "queue", "load"), [(1, 20, 200), (4, 20, 300), (4, 20, 380), (4, 20, 600), (8, 160, 360)]
    )
    def test_a_steady_state(self, slots: int, queue: int, load: int) -> None:
        """400 a minute can be finished. 100 minutes each of eight runs."""
        server = Server(slots=slots, service_seconds=60.0 * slots / 400, queue=queue)
        runs = [Simulated(server, seed).play([load] * 120) for seed in range(8)]
        minute = unserved(0)
        for _ in range(60):
            minute = server.minute(load, 1, minute)
        latencies = [each for run in runs for part in run.latencies[20:] for each in part]
        quantiles = server.latencies(minute)
        assert server.mean_latency(minute) == pytest.approx(np.mean(latencies), rel=0.08)
        assert quantiles[P50] == pytest.approx(np.quantile(latencies, 0.5), rel=0.08)
        assert quantiles[P95] == pytest.approx(np.quantile(latencies, 0.95), rel=0.08)
        assert quantiles[-1] == pytest.approx(np.quantile(latencies, 0.995), rel=0.12)
        served, failed = (np.mean([getattr(run, name)[20:] for run in runs]) for name in ("served", "failed"))
        assert minute.served == pytest.approx(served, rel=0.01, abs=1)
        assert minute.failed == pytest.approx(failed, rel=0.05, abs=1)
        assert minute.busy == pytest.approx(served / 400, rel=0.01, abs=0.003)
        # Little: mean number in the system is throughput times mean latency
        assert minute.concurrency == pytest.approx(served / 60 * np.mean(latencies), rel=0.08)

    def test_a_step_into_overload_and_back(self) -> None:
        """From 100 to twice what it can do (422) and back, minute by minute, mean of 100 runs."""
        loads = [100, 390, 420, 500, 800, 800, 420, 300, 0, 0]
        server = Server.of(400.0, slots=4, queue=160, patience=5.0)
        runs = [Simulated(server, seed).play(loads) for seed in range(100)]
        minute = unserved(0)
        for number, load in enumerate(loads):
            minute = server.minute(load, 1, minute)
            served, failed, waiting = (
                np.mean([getattr(run, name)[number] for run in runs]) for name in ("served", "failed", "waiting")
            )
            assert minute.served == pytest.approx(served, rel=0.06, abs=12)
            assert minute.failed == pytest.approx(failed, rel=0.05, abs=20)
            assert minute.waiting == pytest.approx(waiting, rel=0.2, abs=8)
            latencies = [each for run in runs for each in run.latencies[number]]
            if load:
                assert server.latencies(minute)[P95] == pytest.approx(np.quantile(latencies, 0.95), rel=0.4)


class TestCapacity:
    @pytest.mark.parametrize("slots", [1, 2, 4, 8, 16])
    @pytest.mark.parametrize("patience", [2.0, 5.0, 10.0])
    def test_there_and_back(self, slots: int, patience: float) -> None:
        server = Server.of(400.0, slots=slots, queue=QUEUE_PER_SLOT * slots, patience=patience)
        assert server.capacity(patience * server.idle_p95) == pytest.approx(400.0)

    def test_four_slots_are_full_at_1_05_c(self) -> None:
        """The cap that algorithms 7 measured with."""
        assert Server.of(400.0, slots=4, queue=160, patience=5.0).rate == pytest.approx(1.05 * 400, rel=0.01)

    def test_an_objective_below_an_idle_instances_latency_leaves_nothing(self) -> None:
        server = Server(slots=4, service_seconds=1.0, queue=160)
        assert server.capacity(0.9 * server.idle_p95) == 0.0

    @pytest.mark.parametrize(("slots", "share"), [(1, 0.3), (4, 0.5), (16, 0.75)])
    def test_the_first_guess_is_on_the_safe_side(self, slots: int, share: float) -> None:
        """Algorithms 2: 60 k / s x max(0.3, 1 - 1 / sqrt(k)); from 2 p95 of patience on never above the truth."""
        server = Server(slots=slots, service_seconds=2.0, queue=QUEUE_PER_SLOT * slots)
        assert server.cold_start_capacity == pytest.approx(60 * slots / 2 * share)
        assert server.cold_start_capacity <= server.capacity(2 * server.idle_p95)


class TestAlways:
    @given(
        server=st.builds(
            Server, slots=st.integers(1, 6), service_seconds=st.floats(0.05, 300.0), queue=st.integers(1, 50)
        ),
        load=st.integers(0, 20_000),
        instances=st.integers(1, 30),
        waited=st.integers(0, 900),
    )
    def test_conservation(self, server: Server, load: int, instances: int, waited: int) -> None:
        minute = server.minute(load, instances, replace(unserved(0), waiting=waited, queued=float(waited)))
        assert minute.served + minute.failed + minute.waiting == load + waited
        assert min(minute.served, minute.failed, minute.waiting) >= 0
        assert minute.served <= instances * server.rate + 1e-6
        assert minute.waiting <= instances * server.queue + 1
        assert list(server.latencies(minute)) == sorted(server.latencies(minute))

    @given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 10))
    def test_more_load_is_never_faster(self, less: int, more: int, instances: int) -> None:
        server = Server.of(400.0, slots=4, queue=160, patience=5.0)
        fast, slow = (server.latencies(server.minute(load, instances, unserved(0))) for load in sorted((less, more)))
        assert all(a <= b + 1e-9 for a, b in zip(fast, slow, strict=True))

    def test_without_instances_all_fails(self) -> None:
        assert (unserved(7).failed, unserved(7).served, unserved(7).waiting) == (7, 0, 0)
