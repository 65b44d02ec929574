"""What the store keeps: data that are worked out when read, and no more minutes than CloudWatch has."""

from simulator.metrics import Datum, MetricStore, sample

KEY = ("Test", "load", ())


def test_a_datum_is_worked_out_once_and_only_when_it_is_read() -> None:
    asked: list[int] = []

    def datum() -> Datum:
        asked.append(1)
        return sample(7.0)

    store = MetricStore()
    store.put(KEY, 1, datum)
    store.put(KEY, 2, datum)
    assert asked == []
    assert [store.read(KEY, 2, 1), store.read(KEY, 2, 1)] == [sample(7.0)] * 2
    assert asked == [1]


def test_what_comes_in_addition_is_added_whichever_way_it_comes() -> None:
    store = MetricStore()
    store.put(KEY, 1, lambda: sample(3.0))
    store.put(KEY, 1, sample(4.0))
    store.put(KEY, 1, lambda: sample(5.0))
    assert store.series(KEY, "Sum", range(1, 2), 1) == {1: 12.0}


def test_old_minutes_go() -> None:
    """At most a quarter more than is to be kept stays, so that not each minute cleans up."""
    store = MetricStore(kept=100)
    for minute in range(1000):
        store.put(KEY, minute, sample(1.0))
        assert len(store.series(KEY, "Sum", range(minute + 1), minute)) in range(min(minute + 1, 100), 127)
    assert store.read(KEY, 999, 1) is not None
    assert store.read(KEY, 0, 1) is None


def test_what_comes_for_a_minute_that_was_judged_is_a_revision() -> None:
    store = MetricStore()
    store.judged = 5
    for minute, revisions in ((6, 0), (5, 1), (2, 2), (7, 2)):
        store.put(KEY, minute, sample(1.0))
        assert store.revised == revisions
