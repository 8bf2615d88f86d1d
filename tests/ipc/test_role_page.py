"""Role pages: lives, cursors, pending batches, counters and histograms."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ipc
from ipc import RolePage, histogram_percentile, layout
from ipc.role_page import bucket_value_max


@pytest.fixture
def foreign(system_name: str, page: RolePage) -> RolePage:
    """The same page as others see it."""
    return RolePage.attach(system_name, page.name)


def test_a_new_life_has_a_larger_epoch_than_all_before(page: RolePage, foreign: RolePage) -> None:
    assert (foreign.epoch, foreign.pid, foreign.beat_ns) == (0, 0, 0)
    wall_s = time.time_ns() // 1_000_000_000
    first = page.adopt()
    second = page.adopt()
    assert wall_s <= first < second
    assert foreign.epoch == second
    assert foreign.pid == page.pid > 0
    assert 0 < foreign.beat_ns <= time.monotonic_ns()


def test_what_a_role_says_is_what_others_read(page: RolePage, foreign: RolePage) -> None:
    page.beat(123)
    page.state = 4
    page.count(7)
    page.count(7, 41)
    page.set_gauge(3, -5)
    page.cursor(31).store(99)
    page.fail("broken: ü" + "x" * 400)
    assert foreign.beat_ns == 123
    assert foreign.state == 4
    assert foreign.counter(7) == 42
    assert foreign.gauge(3) == -5
    assert foreign.cursor(31).value == 99
    assert foreign.error.startswith("broken: ü")
    assert len(foreign.error.encode()) == layout.PAGE_ERROR_BYTES
    page.adopt()
    assert foreign.counter(7) == 42  # what was counted and said outlives the process
    assert foreign.error.startswith("broken")


def test_a_text_cut_inside_a_character_is_still_text(page: RolePage) -> None:
    page.fail("ü" * 300 if layout.PAGE_ERROR_BYTES % 2 else "x" + "ü" * 300)
    assert page.error == "x" + "ü" * 127


def test_areas_do_not_overlap(page: RolePage) -> None:
    for index in range(layout.COUNTER_COUNT):
        page.count(index, index + 1)
    for index in range(layout.GAUGE_COUNT):
        page.set_gauge(index, -index - 1)
    for index in range(layout.CURSOR_COUNT):
        page.cursor(index).store(index + 1)
    for slot in range(layout.PENDING_COUNT):
        page.begin(slot, slot + 1, slot + 100)
    for index in range(layout.HISTOGRAM_COUNT):
        page.record_ns(index, 2**40 + index)
    page.beat(1)
    page.state = 2
    page.fail("z" * 256)
    assert [page.counter(index) for index in range(256)] == list(range(1, 257))
    assert [page.gauge(index) for index in range(64)] == [-index - 1 for index in range(64)]
    assert [page.cursor(index).value for index in range(32)] == list(range(1, 33))
    assert [page.pending(slot) for slot in range(16)] == [(n + 1, n + 100) for n in range(16)]
    assert [page.histogram_max(index) for index in range(24)] == [2**40 + n for n in range(24)]
    assert [int(page.histogram(index).sum()) for index in range(24)] == [1] * 24
    assert (page.beat_ns, page.state, page.error) == (1, 2, "z" * 256)


def test_others_may_not_store(foreign: RolePage) -> None:
    stores = [
        foreign.adopt,
        lambda: foreign.beat(1),
        lambda: setattr(foreign, "state", 1),
        lambda: foreign.count(0),
        lambda: foreign.set_gauge(0, 1),
        lambda: foreign.record_ns(0, 1),
        lambda: foreign.begin(0, 1, 1),
        lambda: foreign.commit(0, 1),
        lambda: foreign.fail("x"),
        lambda: foreign.cursor(0).store(1),
    ]
    for store in stores:
        with pytest.raises(ipc.ReadOnlyError, match=r"page\.risk: it is mapped for reading"):
            store()


def test_indices_are_checked(page: RolePage) -> None:
    calls = [
        lambda: page.count(256),
        lambda: page.counter(256),
        lambda: page.set_gauge(64, 0),
        lambda: page.gauge(64),
        lambda: page.record_ns(24, 0),
        lambda: page.histogram(24),
        lambda: page.histogram_max(24),
        lambda: page.begin(16, 1, 1),
        lambda: page.commit(16, 1),
        lambda: page.pending(16),
        lambda: page.cursor(32),
        lambda: page.cursor(-1),
    ]
    for call in calls:
        with pytest.raises(IndexError, match="there is no"):
            call()


def test_a_pending_batch_is_noted_and_cleared(page: RolePage, foreign: RolePage) -> None:
    assert page.pending(2) is None
    page.commit(2, 5)  # an input without outputs begins nothing
    page.begin(2, 6, 100)
    assert foreign.pending(2) == (6, 100)
    with pytest.raises(ipc.PendingError, match="input 6 was begun, input 7 is committed"):
        page.commit(2, 7)
    page.begin(2, 6, 101)
    assert foreign.pending(2) == (6, 101)
    page.commit(2, 6)
    assert foreign.pending(2) is None


def test_one_living_process_per_role(page: RolePage, monkeypatch: pytest.MonkeyPatch) -> None:
    page.adopt()
    assert ipc.process_start_time(1) is not None
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(ipc.WriterTakenError, match=r"page\.risk"):
        page.adopt()


def test_durations_outside_the_range_count_at_its_ends(page: RolePage) -> None:
    page.record_ns(0, -5)
    page.record_ns(0, 2**50)
    counts = page.histogram(0)
    assert (counts[0], counts[-1], counts.sum()) == (1, 1, 2)
    assert page.histogram_max(0) == 2**50


@given(value=st.integers(0, 2**36 - 1))
def test_a_bucket_covers_its_values_within_one_percent(value: int) -> None:
    shift = max(value.bit_length() - 8, 0)
    index = ((shift + 1) << 7) + (value >> shift) - 128
    assert index < layout.HISTOGRAM_BUCKETS
    assert value <= bucket_value_max(index) <= value * 1.01
    assert index == 0 or bucket_value_max(index - 1) < value


def test_stored_buckets_are_those_of_hdrhistogram(page: RolePage) -> None:
    values = [0, 1, 127, 128, 255, 256, 257, 511, 512, 1000, 65_535, 10**9, 2**36 - 1]
    for value in values:
        page.record_ns(1, value)
    expected = np.zeros(layout.HISTOGRAM_BUCKETS, np.uint64)
    for value in values:
        shift = max(value.bit_length() - 8, 0)
        expected[((shift + 1) << 7) + (value >> shift) - 128] += 1
    assert (page.histogram(1) == expected).all()
    page.histogram(1)[0] = 77  # a copy
    assert page.histogram(1)[0] == 1


def test_percentiles_are_those_of_the_sorted_values(page: RolePage) -> None:
    values = [round(1.01**step) for step in range(2000)]
    for value in values:
        page.record_ns(2, value)
    counts = page.histogram(2)
    for q in (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = sorted(values)[max(int(np.ceil(q * 2000)), 1) - 1]
        assert exact <= histogram_percentile(counts, q) <= exact * 1.01


def test_percentiles_of_nothing_and_wrong_shares(page: RolePage) -> None:
    counts = page.histogram(3)
    assert histogram_percentile(counts, 0.5) == 0
    for q in (-0.1, 50):
        with pytest.raises(ValueError, match="a share between 0 and 1"):
            histogram_percentile(counts, q)
