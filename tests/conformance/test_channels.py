"""What every kind of channel promises, whatever else it does. Torn values fail in the fixture."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ipc
from ipc import Bell, SegmentKind, SegmentSpec

Channel = Any  # the fixture's class lives in conftest.py, which is not importable by name


def test_before_the_first_value_there_is_nothing(channel: Channel) -> None:
    assert channel.reader().receive() is None
    channel.writer()
    assert channel.reader().receive() is None


def test_what_is_sent_is_received_word_for_word(channel: Channel) -> None:
    writer, reader = channel.writer(), channel.reader()
    for value in (1, 2, 2**58, 0, 7):
        writer.send(value)
        assert reader.receive() == value
        assert reader.receive() is None


def test_a_reader_that_comes_later_finds_what_was_sent(channel: Channel) -> None:
    writer = channel.writer()
    for value in (5, 6, 7):
        writer.send(value)
    reader = channel.reader()
    values = [value for _ in range(4) if (value := reader.receive()) is not None]
    assert values == ([5, 6, 7] if channel.kind.keeps_every_value else [7])


def test_a_reader_attached_before_any_writer_gets_everything(channel: Channel) -> None:
    reader = channel.reader()
    writer = channel.writer()
    writer.send(9)
    assert reader.receive() == 9


def test_readers_do_not_take_from_each_other(channel: Channel) -> None:
    first = channel.reader()
    second = channel.reader()
    channel.writer().send(4)
    assert (first.receive(), second.receive()) == (4, 4)


def test_a_successor_of_the_writer_goes_on_where_it_stopped(channel: Channel) -> None:
    reader = channel.reader()
    for value in range(1, 30):
        channel.writer().send(value)  # a new writer for every value
        assert reader.receive() == value
    assert channel.attach().epoch == 29


def test_a_value_outlives_its_writers_process(channel: Channel) -> None:
    reader = channel.reader()
    child = os.fork()
    if child == 0:
        channel.writer().send(77)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert reader.receive() == 77
    channel.writer().send(78)
    assert reader.receive() == 78


def test_a_second_writer_is_refused_while_the_first_lives(channel: Channel) -> None:
    ready, hold = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        writer = channel.writer()
        writer.send(1)
        os.write(ready[1], b"x")
        os.read(hold[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        with pytest.raises(ipc.WriterTakenError, match=f"segment channel: process {child}"):
            channel.writer()
    finally:
        os.write(hold[1], b"x")
        os.waitpid(child, 0)
        for descriptor in (*ready, *hold):
            os.close(descriptor)
    channel.writer().send(2)


def test_a_reading_mapping_has_no_writer(channel: Channel) -> None:
    with pytest.raises(ipc.ReadOnlyError, match="segment channel: it is mapped for reading"):
        channel.kind.writer(channel.attach(), [])
    assert channel.attach().writer_pid == 0


def test_another_record_type_is_refused(channel: Channel) -> None:
    with pytest.raises(ipc.SegmentRecordError, match="the hash of its record type"):
        channel.attach(spec=channel.spec._replace(layout_hash=12))


def test_another_kind_is_refused(channel: Channel) -> None:
    words = SegmentSpec("channel", SegmentKind.WORDS, channel.spec.item_bytes, 16)
    with pytest.raises(ipc.SegmentKindError, match="expected words"):
        channel.attach(spec=words)


def test_a_parked_reader_is_rung_for_every_value(channel: Channel) -> None:
    bells = channel.bells()
    reader = channel.reader()
    writer = channel.writer(bells=[Bell(bells, 0)])
    parker = channel.kind.watch(bells, reader)
    parker.has_work()
    for value in (1, 2, 3):
        assert not parker.has_work()
        assert parker.arm_fifo()
        writer.send(value)
        assert not Bell(bells, 0).is_parked
        assert parker.park(100_000_000)
        assert reader.receive() == value


def test_a_closed_segment_stays_mapped_under_its_ends(channel: Channel) -> None:
    writing, reading = channel.attach(writable=True), channel.attach()
    writer, reader = channel.kind.writer(writing, []), channel.kind.reader(reading)
    writing.close()
    reading.close()
    writer.send(3)
    assert reader.receive() == 3


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(0, 2**58)),
            st.tuples(st.sampled_from(["receive", "new writer"]), st.just(0)),
        ),
        max_size=40,
    )
)
def test_a_reader_never_sees_what_was_not_sent_nor_goes_back(
    channel: Channel, steps: list[tuple[str, int]]
) -> None:
    """Against a list of all values sent: each one received lies behind the one before."""
    writer, reader = channel.writer(), channel.reader()
    while reader.receive() is not None:
        pass
    sent: list[int] = []
    position = 0
    for step, value in steps:
        if step == "send" and len(sent) - position < 8:
            writer.send(value)
            sent.append(value)
        elif step == "receive":
            received = reader.receive()
            if channel.kind.keeps_every_value:
                assert received == (sent[position] if position < len(sent) else None)
                position = min(position + 1, len(sent))
            else:
                assert received == (sent[-1] if position < len(sent) else None)
                position = len(sent)
        elif step == "new writer":
            writer = channel.writer()
    while reader.receive() is not None:
        pass
