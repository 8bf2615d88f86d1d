"""Our histograms in HdrHistogram's formats, with the hdrhistogram package as the judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st

from hft.errors import UsageError
from ipc import bucket_value_max, layout
from tools.latency import files, hdr
from tools.latency.hops import Hop

BUCKETS = layout.HISTOGRAM_BUCKETS
DURATIONS = st.lists(st.integers(0, hdr.VALUE_MAX), max_size=200)


def theirs(values: list[int]) -> HdrHistogram:
    histogram = HdrHistogram(hdr.VALUE_MIN, hdr.VALUE_MAX, hdr.DIGITS)
    for value in values:
        histogram.record_value(value)
    return histogram


def ours(values: list[int]) -> hdr.Counts:
    counts = np.zeros(BUCKETS, dtype=np.uint64)
    uppers = [bucket_value_max(index) for index in range(BUCKETS)]
    for value in values:
        counts[np.searchsorted(uppers, value)] += 1
    return counts


@given(DURATIONS)
def test_they_read_what_we_write(values: list[int]) -> None:
    read = HdrHistogram.decode(hdr.encode(ours(values)))
    assert read.get_total_count() == len(values)
    for percentile in (0, 50, 99, 99.9, 100):
        expected = theirs(values).get_value_at_percentile(percentile)
        assert read.get_value_at_percentile(percentile) == expected


@given(DURATIONS)
def test_we_read_what_they_write(values: list[int]) -> None:
    counts = hdr.decode(theirs(values).encode().decode(), BUCKETS)
    assert (counts == ours(values)).all()


@given(DURATIONS)
def test_what_is_written_is_read_back(values: list[int]) -> None:
    counts = ours(values)
    assert (hdr.decode(hdr.encode(counts), BUCKETS) == counts).all()


@pytest.mark.parametrize("text", ["", "!", "AAAA", "HISTFAAAAAA="])
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        hdr.decode(text, BUCKETS)


def test_histogram_of_another_precision_is_refused() -> None:
    other = HdrHistogram(1, hdr.VALUE_MAX, 3).encode().decode()
    with pytest.raises(UsageError, match="has 3 digits"):
        hdr.decode(other, BUCKETS)


@given(st.lists(st.integers(1, hdr.VALUE_MAX), min_size=1, max_size=200))
def test_percentile_rows_climb_and_end_at_the_maximum(values: list[int]) -> None:
    rows = list(hdr.percentile_rows(ours(values), max(values)))
    assert rows == sorted(rows)
    assert rows[-1] == (1.0, max(values), len(values))


def test_log_is_read_by_their_reader_with_equal_counts(tmp_path: Path) -> None:
    values = [10, 1_500, 1_500, 2_000_000]
    hop = Hop("tick_to_trade", "execution", "", ours(values), max(values))
    empty = Hop("never", "risk", "", ours([]), 0)
    path = tmp_path / "a.hlog"
    with path.open("w") as out:
        files.log_head(out, 1_700_000_000_000_000_000)
        assert files.log_interval(out, [hop, empty], 0.0, 1.0) == 1
        files.log_interval(out, [hop], 1.0, 1.0)
    reader = HistogramLogReader(str(path), theirs([]))
    totals = []
    while (interval := reader.get_next_interval_histogram()) is not None:
        totals.append((interval.get_tag(), interval.get_total_count(), interval.get_max_value()))
    reader.close()
    assert totals == [("tick_to_trade", 4, theirs(values).get_max_value())] * 2

    (merged,) = files.read_logs([path])
    assert merged.name == "tick_to_trade"
    assert (merged.counts == 2 * hop.counts).all()
    assert merged.max_ns == 2_000_000


def test_damaged_log_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.hlog"
    path.write_text("#[Histogram log format version 1.3]\nTag=a,0.0,1.0,0.1,HISTxxxx\n")
    with pytest.raises(UsageError, match="line 2 is damaged"):
        files.read_logs([path])
    with pytest.raises(UsageError, match="no histogram"):
        files.read_logs([tmp_path / "bad.hlog"][:0])
