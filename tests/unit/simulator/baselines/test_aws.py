"""Steps, scheduled actions, the guide for queues, the hourly forecast and the static peak.

The first three are played by the full model of the service too, minute by minute. Tags as in `test_autoscaling`.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.account import SimulatedAccount
from simulator.baselines import BASELINES, run
from simulator.baselines.aws import daily_actions, forecast_floors, guided_above
from simulator.cases import Case, Course, Mode
from simulator.queues import need
from simulator.workload import AsyncWorkload, RealtimeWorkload, Workload
from tests.unit.simulator.baselines.cases import START, minutes, queue, realtime
from tests.unit.simulator.worlds import DIMENSIONS, VARIANT, register

HOUR, DAY = 60, 1440
Setup = Callable[[SimulatedAccount], None]


def in_the_full_model(case: Case, setup: Setup) -> list[tuple[int, int]]:
    """Ready and billed instances of each minute, as the simulated account has them."""
    asynchronous = case.mode is Mode.ASYNC
    workload: Workload = RealtimeWorkload(
        per_minute_requests=case.requests.tolist(), capacity_per_instance=case.capacity, vcpus=1
    )
    if case.work_seconds is not None:
        workload = AsyncWorkload(
            per_minute_requests=case.requests.tolist(),
            per_minute_work_seconds=case.work_seconds.tolist(),
            concurrency=case.concurrency,
            objective=timedelta(minutes=case.objective),
        )
    account = SimulatedAccount(START, record_calls=False)
    account.add_endpoint(
        name="ranker",
        workload=workload,
        instance_count=case.first_count(),
        asynchronous=asynchronous,
        provisioning_delay=timedelta(minutes=case.provisioning),
        removal_delay=timedelta(minutes=case.removal),
    )
    register(account, case.minimum, case.maximum)
    setup(account)
    for _ in case.requests:
        account.advance()
    history = workload.history
    return [(ready, max(ready, asked)) for ready, asked in zip(history.ready, history.desired, strict=True)]


def as_pairs(course: Course) -> list[tuple[int, int]]:
    return list(zip(course.ready.tolist(), course.billed.tolist(), strict=True))


def put_policy(account: SimulatedAccount, name: str, kind: str, **configuration: Any) -> str:
    client: Any = account.client("application-autoscaling")  # the name of one argument depends on another
    shape = {f"{kind}PolicyConfiguration": configuration}
    return str(client.put_scaling_policy(**VARIANT, PolicyName=name, PolicyType=kind, **shape)["PolicyARN"])


def put_step(account: SimulatedAccount, name: str, steps: list[dict[str, Any]], **alarm: Any) -> None:
    arn = put_policy(account, name, "StepScaling", AdjustmentType="ChangeInCapacity", StepAdjustments=steps)
    account.client("cloudwatch").put_metric_alarm(
        AlarmName=name, Statistic="Average", Period=60, AlarmActions=[arn], **alarm
    )


def put_tracking(account: SimulatedAccount, target: float) -> None:
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    put_policy(account, "track", "TargetTrackingScaling", TargetValue=target, PredefinedMetricSpecification=metric)


# --- steps ------------------------------------------------------------------------------------------------------------


def tutorial_steps(account: SimulatedAccount) -> None:
    cpu = {"Namespace": "/aws/sagemaker/Endpoints", "MetricName": "CPUUtilization", "Dimensions": DIMENSIONS}
    more = [
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 30, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 30, "ScalingAdjustment": 2},
    ]
    at_least = "GreaterThanOrEqualToThreshold"
    put_step(account, "out", more, **cpu, Threshold=70, EvaluationPeriods=3, ComparisonOperator=at_least)
    fewer = [{"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}]
    put_step(account, "in", fewer, **cpu, Threshold=30, EvaluationPeriods=15, ComparisonOperator="LessThanThreshold")


@pytest.mark.parametrize(
    ("name", "load", "orders"),
    [
        # one instance of 100 requests: CPU is 0.8 of the load
        ("documented 1.5: 72 % is one more", [90], {5: 2}),
        ("documented 1.5: 69.6 % is none", [87], {}),
        ("documented 1.5: at 100 % two more; CPU shows no more than that", [400], {5: 3}),
    ],
)
def test_steps(name: str, load: list[int], orders: dict[int, int]) -> None:
    course = run("aas-step", "70", realtime([90, *load * 7]))  # begins with one
    assert dict(zip(course.orders.tolist(), course.billed[course.orders].tolist(), strict=True)) == orders, name


loads = st.lists(
    st.tuples(st.integers(1, 25), st.sampled_from([0, 20, 60, 95, 130, 270, 495, 777])), min_size=1, max_size=12
).map(lambda runs: minutes(*runs))


@settings(deadline=None, max_examples=40)
@given(loads)
def test_steps_equal_the_full_model(load: list[int]) -> None:
    case = realtime(load, maximum=8)
    assert as_pairs(run("aas-step", "70", case)) == in_the_full_model(case, tutorial_steps)


# --- scheduled actions ------------------------------------------------------------------------------------------------


def test_actions_hold_the_peak_of_each_hour_and_run_15_minutes_ahead() -> None:
    # two days to learn from: 08:00 to 09:00 needs 3, one minute at 20:30 on the second day 5
    load = np.ones(4 * DAY, dtype=np.int64)
    load[8 * HOUR : 9 * HOUR] = load[DAY + 8 * HOUR] = 250
    load[DAY + 20 * HOUR + 30] = 480
    case = realtime(load.tolist(), warmup=2 * DAY)
    day = {0: 1, 7 * HOUR + 45: 3, 9 * HOUR: 1, 19 * HOUR + 45: 5, 21 * HOUR: 1}
    third = {2 * DAY + minute: floor for minute, floor in day.items()}
    fourth = {3 * DAY + minute: floor for minute, floor in day.items() if minute}
    assert daily_actions(case) == third | fourth


def test_who_knows_better_than_each_hour_says_so_by_the_minute() -> None:
    case = replace(realtime([100] * 3 * DAY, warmup=DAY), start=START.replace(hour=10))
    daily = np.ones(DAY, dtype=np.int64)
    daily[12 * HOUR + 5 : 13 * HOUR + 20] = 7
    rises, falls = DAY + 2 * HOUR + 5 - 15, DAY + 3 * HOUR + 20
    assert daily_actions(case, daily) == {DAY: 1, rises: 7, falls: 1, DAY + rises: 7, DAY + falls: 1}


def test_less_than_a_day_teaches_nothing() -> None:
    assert daily_actions(realtime([100] * 2000, warmup=1000)) == {}


def test_a_queue_needs_what_serves_its_work_within_the_objective() -> None:
    # ten minutes bring 20 items of 12 s each: 2,400 s within 15 minutes, of which an instance serves 900
    case = queue(minutes((10, 20), (30, 0)))
    assert need(case).max() == 3  # 2400 / 900 = 2.7
    assert need(case)[23:25].tolist() == [1, 0]  # minute 23 still has the last of the ten among its 15


@settings(deadline=None, max_examples=3)
@given(st.lists(st.sampled_from([0, 60, 95, 130, 270, 495]), min_size=72, max_size=72))
def test_scheduled_actions_equal_the_full_model(hours: list[int]) -> None:
    case = realtime(minutes(*((20, load) for load in hours)) * 2, warmup=DAY, maximum=9)

    def setup(account: SimulatedAccount) -> None:
        put_tracking(account, 0.7 * case.capacity)
        for minute, floor in daily_actions(case).items():
            account.client("application-autoscaling").put_scheduled_action(
                **VARIANT,
                ScheduledActionName=f"floor-{minute}",
                Schedule=f"at({START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%S})",
                ScalableTargetAction={"MinCapacity": floor},
            )

    assert as_pairs(run("aas-scheduled", "0.7", case)) == in_the_full_model(case, setup)


# --- AWS's guide for queues -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "knob", "load", "orders"),
    [
        # one item in minute 0 is seen without an instance at 3 and, a second time, at 4; one instance serves from 10
        # on, where a fifth of a slot is busy: low from there, 15 times seen at 27
        ("documented 5.1: a step out of zero, tracking back to it", "5", [1] + [0] * 40, {4: 1, 27: 0}),
        # five of 80 are done in each minute from 10 on. The step's cooldown counts from zero instances, until 16, where
        # minute 13 is seen: 1 x 60 / 5
        ("documented 5.1: then as many as hold five each", "5", [80] + [0] * 16, {4: 1, 16: 12}),
        # 0.5 x 5 a minute x 15 minutes = 37.5 for each: 60 / 37.5 is two
        ("inferred 5.1: a target that is a share of what is done in time", "0.5", [80] + [0] * 16, {4: 1, 16: 2}),
    ],
)
def test_guide_for_queues(name: str, knob: str, load: list[int], orders: dict[int, int]) -> None:
    course = run("aas-async-guide", knob, queue(load))
    asked = [*course.billed.tolist(), 0]  # what leaves is paid for one more minute, what comes from the order on
    assert {at: asked[at] if asked[at] > asked[at - 1] else asked[at + 1] for at in course.orders} == orders, name


def test_the_guide_above_floors_keeps_them_begins_with_what_ran_and_wakes_when_it_is_told() -> None:
    case = queue([1] + [0] * 30, provisioning=2, provisioning_from_zero=4)
    # Minutes 0 to 2 are known as the fifth begins; then it orders, and four minutes later one serves.
    assert np.flatnonzero(guided_above(case, "5", [0] * 31, 0, 3).ready)[0] == 9
    assert np.flatnonzero(guided_above(case, "5", [0] * 31, 0, 2).ready)[0] == 8  # as the guide has it
    held = guided_above(case, "5", [0] * 5 + [3] * 26, 1, 2)
    assert held.ready.tolist() == [1] * 7 + [3] * 24  # two more minutes until the floor serves


def guide(account: SimulatedAccount) -> None:
    by_endpoint = DIMENSIONS[:1]
    backlog = {"Namespace": "AWS/SageMaker", "Dimensions": by_endpoint}
    put_policy(
        account,
        "track",
        "TargetTrackingScaling",
        TargetValue=5.0,
        CustomizedMetricSpecification={
            **backlog,
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Statistic": "Average",
        },
        ScaleInCooldown=600,
        ScaleOutCooldown=300,
    )
    put_step(
        account,
        "wake",
        [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        **backlog,
        MetricName="HasBacklogWithoutCapacity",
        Threshold=1,
        EvaluationPeriods=2,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0, 0, 1, 4, 9, 30])), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(1, 2),
)
def test_guide_equals_the_full_model_through_zero_and_missing_data(
    runs: list[tuple[int, int]], provisioning: int, concurrency: int
) -> None:
    case = queue(
        minutes(*runs),
        maximum=8,
        provisioning=provisioning,
        provisioning_from_zero=provisioning,
        concurrency=concurrency,
    )
    assert as_pairs(run("aas-async-guide", "5", case)) == in_the_full_model(case, guide)


def test_the_first_instance_takes_longer() -> None:
    course = run("aas-async-guide", "5", queue([1] + [0] * 20, provisioning_from_zero=8))
    assert course.ready.tolist().index(1) == 4 + 8


# --- hourly forecast --------------------------------------------------------------------------------------------------


def test_a_forecast_is_the_mean_of_the_same_hour_of_the_days_before() -> None:
    # 06:00 to 07:00 brings 210 a minute on the first day and 490 on the second; an instance is to get 70
    load = np.zeros(3 * DAY, dtype=np.int64)
    load[6 * HOUR : 7 * HOUR], load[DAY + 6 * HOUR : DAY + 7 * HOUR] = 210, 490
    floors = forecast_floors(realtime(load.tolist()), 70.0)
    begins = [day * DAY + 6 * HOUR for day in range(3)]
    assert floors[begins].tolist() == [1, 3, 5]  # nothing known, 210 / 70, mean of 210 and 490
    assert floors[[begin - 5 for begin in begins]].tolist() == [1, 3, 5]  # five minutes ahead
    assert floors[[begin - 6 for begin in begins]].tolist() == [1, 1, 1]
    assert floors[[begin + HOUR for begin in begins]].tolist() == [1, 1, 1]


def test_a_forecast_forgets_after_14_days() -> None:
    load = np.zeros(16 * DAY, dtype=np.int64)
    load[: 24 * HOUR] = 1400
    floors = forecast_floors(realtime(load.tolist()), 70.0)
    noons = floors[12 * HOUR :: DAY]
    assert noons.tolist() == [1, 20, 10, 7, 5, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 1]  # 1400 / 70 / days known, up to 14


def test_the_first_hour_counts_only_if_it_is_whole() -> None:
    load = minutes((20, 700), (2 * DAY, 0))
    floors = forecast_floors(realtime(load, start=START + timedelta(minutes=40)), 70.0)
    assert floors.max() == 1


def test_the_floor_is_there_before_the_load_and_never_scales_in() -> None:
    day = minutes((360, 50), (60, 490), (1020, 50))
    course = run("hourly-forecast", "0.7", realtime(day * 2))
    begin = DAY + 6 * HOUR
    assert course.ready[begin + 1] == 7  # ordered five minutes ahead, six to come; 490 / 70
    tracking = run("aas-target-tracking", "0.7", realtime(day * 2))
    low = DAY + 7 * HOUR + 10  # the floor is gone, but only tracking's 15 low minutes scale in
    assert course.ready[low] == tracking.ready[low] == 7


# --- static peak ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "case", "knob", "count"),
    [
        ("highest minute of the warm-up, not of what is judged", realtime([100, 450, 900], warmup=2), "1.0", 5),
        ("with a reserve", realtime([100, 450, 900], warmup=2), "1.2", 6),
        ("without a warm-up, of all", realtime([100, 450, 900]), "1.0", 9),
        ("within the bounds", realtime([100, 450, 900], maximum=4), "1.0", 4),
    ],
)
def test_static_peak(name: str, case: Case, knob: str, count: int) -> None:
    course = run("static-peak", knob, case)
    assert set(course.ready) == set(course.billed) == {count}, name
    assert len(course.orders) == 0


# --- all of them ------------------------------------------------------------------------------------------------------

PLAYED = [
    (policy, knob, mode)
    for policy, baseline in BASELINES.items()
    for knob, mode in itertools.product(baseline.knobs, baseline.modes)
]


@pytest.mark.parametrize(("policy", "knob", "mode"), PLAYED)
def test_every_baseline_keeps_to_its_bounds_and_pays_from_order_to_removal(policy: str, knob: str, mode: Mode) -> None:
    load = minutes((200, 3), (30, 900), (700, 20), (5, 4000), (800, 0)) * 2
    case = (
        queue([count // 20 for count in load], maximum=7, warmup=DAY)
        if mode is Mode.ASYNC
        else realtime(load, maximum=7, mode=mode, warmup=DAY)
    )
    course = run(policy, knob, case)
    assert (course.policy, course.knob) == (policy, knob)
    assert len(course.ready) == len(course.billed) == len(load)
    assert (course.billed >= course.ready).all()
    assert course.ready.min() >= case.minimum
    assert course.billed.max() == 7 if policy != "static-peak" else course.billed.max() <= 7
    changes = np.flatnonzero(np.diff(course.ready)) + 1
    assert len(changes) <= len(course.orders)
    assert (np.diff(course.orders) >= case.removal).all()  # one change at a time
    assert as_pairs(run(policy, knob, case)) == as_pairs(course)


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(ValueError, match="policy 'hap' must be one of aas-target-tracking, "):
        run("hap", "0.5", realtime([1]))


def test_a_rule_for_queues_does_not_play_requests() -> None:
    with pytest.raises(ValueError, match="policy 'keda' plays in async, not in realtime"):
        run("keda", "5", realtime([1]))
