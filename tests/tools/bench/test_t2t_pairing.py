from hypothesis import given
from hypothesis import strategies as st

from tools.bench.t2t.pairing import Arrival, Trigger, pair


def arrival(price_e8: int, read_ns: int) -> Arrival:
    return Arrival(price_e8, read_ns, f"h{read_ns:016x}")


def test_each_order_answers_the_trigger_of_its_price():
    triggers = [Trigger(1, 100), Trigger(2, 200), Trigger(3, 300)]
    arrivals = [arrival(1, 140), arrival(2, 250), arrival(3, 360)]
    assert pair(triggers, arrivals, warm=0) == ((40, 50, 60), 0, 0, 0)


def test_warm_triggers_are_not_counted():
    triggers = [Trigger(1, 100), Trigger(2, 200)]
    paired = pair(triggers, [arrival(1, 140), arrival(1, 150), arrival(2, 250)], warm=1)
    assert paired == ((50,), 0, 0, 0)


def test_unanswered_trigger_is_missed():
    paired = pair([Trigger(1, 100), Trigger(2, 200)], [arrival(2, 230)], warm=0)
    assert (paired.latency_ns, paired.missed) == ((30,), 1)


def test_second_order_for_a_trigger_is_doubled_and_the_first_one_counts():
    paired = pair([Trigger(1, 100)], [arrival(1, 190), arrival(1, 130)], warm=0)
    assert (paired.latency_ns, paired.doubled) == ((30,), 1)


def test_order_at_a_price_nobody_triggered_is_a_stray():
    paired = pair([Trigger(1, 100)], [arrival(7, 130)], warm=0)
    assert (paired.missed, paired.strays) == (1, 1)


def test_order_that_came_before_its_trigger_is_a_stray():
    paired = pair([Trigger(1, 100)], [arrival(1, 90)], warm=0)
    assert (paired.missed, paired.strays) == (1, 1)


def test_price_that_comes_again_belongs_to_the_newest_trigger():
    triggers = [Trigger(1, 100), Trigger(2, 200), Trigger(1, 300)]
    paired = pair(triggers, [arrival(1, 150), arrival(1, 320)], warm=0)
    assert (paired.latency_ns, paired.missed) == ((50, 20), 1)


@given(st.lists(st.integers(0, 9), max_size=60), st.lists(st.integers(0, 1_000), max_size=60))
def test_every_counted_trigger_is_answered_or_missed_and_every_order_accounted_for(prices, times):
    triggers = [Trigger(price, 10 * index) for index, price in enumerate(prices)]
    arrivals = [arrival(index % 10, time) for index, time in enumerate(times)]
    paired = pair(triggers, arrivals, warm=0)
    assert len(paired.latency_ns) + paired.missed == len(triggers)
    assert len(paired.latency_ns) + paired.doubled + paired.strays == len(arrivals)
    assert all(latency_ns >= 0 for latency_ns in paired.latency_ns)
