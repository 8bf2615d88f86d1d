import json
import multiprocessing
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, CheckFailedError, UsageError
from tools.bench import ipc, result
from tools.bench.floor import RECORD_BYTES, Payload
from tools.bench.machine import choose_cpus
from tools.bench.pair import Counts, Repetition, measure
from tools.bench.row import Place, Row
from tools.bench.rows import ROWS
from tools.bench.side import RecordSide

COUNTS = Counts(tight=20, paced=3, stream=640)
needs_two_cpus = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="two pinned processes need two cpus"
)


def place(directory: Path, name: str) -> Place:
    context = multiprocessing.get_context("forkserver")
    return Place(f"bench-test-{os.getpid()}-{name}", directory, context)


@needs_two_cpus
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_delivers_every_record_and_leaves_nothing_behind(row: Row, tmp_path: Path):
    if row.module and not find_spec(row.module):
        pytest.skip(f"{row.distribution} is not installed")
    where = place(tmp_path, row.name)
    repetition = measure(row, where, choose_cpus(), COUNTS)
    assert len(repetition.round_trip_ns) == COUNTS.tight
    assert len(repetition.paced_ns) == COUNTS.paced
    assert repetition.round_trip_ns.min() > 0
    assert repetition.paced_ns.min() > 0
    assert repetition.records_per_s > 0
    assert repetition.checksum == expected_checksum(row.batch_count)
    assert not [name for name in os.listdir("/dev/shm") if where.name in name]


def expected_checksum(batch_count: int) -> int:
    """Of the three phases; of each message one record in ten more goes first, at least one."""
    payload = Payload(bytearray(RECORD_BYTES))
    checksum = 0
    for count in ((20 + 2) * batch_count, (3 + 1) * batch_count, 640):
        payload.restart()
        for _ in range(count):
            payload.fill()
        checksum += payload.checksum
    return checksum % 2**64


def lost_record_side(_link: object, near: bool) -> RecordSide:
    outbox = bytearray(RECORD_BYTES)
    return RecordSide(outbox=outbox, inbox=outbox, send=lambda: None, poll=skipped(outbox))


def skipped(outbox: bytearray):
    """Delivers what was sent, under the number of another record."""

    def poll() -> bool:
        outbox[48] ^= 0x40
        return True

    return poll


@needs_two_cpus
def test_wrong_record_ends_the_measurement(tmp_path: Path):
    row = ROWS[0]._replace(connect=lost_record_side)
    with pytest.raises(CheckFailedError, match="a worker failed: ValueError: record 1 arrived as"):
        measure(row, place(tmp_path, "wrong"), choose_cpus(), COUNTS)


@needs_two_cpus
def test_json_names_every_row_and_target(capsys: pytest.CaptureFixture[str]):
    assert ipc.run(peers=["floor", "spin"], as_json=True, share=0.001, repetitions=2) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert list(document["rows"]) == ["floor", "spin"]
    assert document["rows"]["spin"]["latency_ns"]["n"] == 200
    assert document["command"] == "hft bench ipc --json --peers floor,spin --repetitions 2"
    assert [target["reached"] is None for target in document["targets"]] == [
        False,
        True,
        True,
        False,
        True,
    ]


@needs_two_cpus
def test_absent_peer_is_said_to_be_absent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    absent = tuple(row._replace(module="not_there") if row.name == "pyzmq" else row for row in ROWS)
    monkeypatch.setattr(ipc, "ROWS", absent)
    assert ipc.run(peers=["floor", "pyzmq"], share=0.001, repetitions=1) == EXIT_OK
    assert "absent: pyzmq is not installed" in capsys.readouterr().out


@needs_two_cpus
def test_check_fails_when_a_target_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    missed = result.Target("records singly", 1.0, 8, at_most=False, unit=" M/s")
    monkeypatch.setattr(ipc, "targets", lambda results: [missed])
    assert ipc.run(peers=["floor"], share=0.001, repetitions=1) == EXIT_OK
    code = ipc.run(peers=["floor"], share=0.001, repetitions=1, check=True)
    assert code == EXIT_CHECK_FAILED
    assert "NOT reached" in capsys.readouterr().out


def test_unknown_row_is_refused_with_the_names_there_are():
    with pytest.raises(UsageError, match="'flor'") as caught:
        ipc.run(peers=["flor"])
    assert "floor, spin" in caught.value.remedy


def test_one_cpu_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    with pytest.raises(UsageError, match="two cpus"):
        choose_cpus()


def repetition(round_trip_ns: int, records_per_s: float = 1e6) -> Repetition:
    samples = np.full(10, round_trip_ns, np.int64)
    return Repetition(samples, samples, records_per_s, checksum=1, preempted=0)


def test_ratios_compare_rows_of_the_same_round():
    floor, spin = result.Result(ROWS[0]), result.Result(ROWS[1])
    for floor_ns, spin_ns in ((100, 200), (200, 400), (1000, 2100)):  # the host moved the cpus
        floor.add(repetition(floor_ns))
        spin.add(repetition(spin_ns, records_per_s=9e6))
    reached = {target.text: target for target in result.targets({"floor": floor, "spin": spin})}
    assert reached["ours spinning p50 / C floor"].value == 2.0
    assert reached["ours spinning p50 / C floor"].is_reached
    assert reached["records singly"].value == 9.0
    assert reached["records in batches"].is_reached is None


def test_figures_are_medians_over_the_repetitions():
    row = result.Result(ROWS[0])
    for round_trip_ns in (200, 1000, 400):
        row.add(repetition(round_trip_ns))
    latency = row.as_dict()["latency_ns"]
    assert latency == {"p50": 200, "p99": 200, "p999": 200, "max": 500, "n": 30}


def test_torn_record_is_noticed():
    buffer = bytearray(RECORD_BYTES)
    sent, received = Payload(buffer), Payload(buffer)
    sent.fill()
    received.check()
    assert received.checksum == sent.checksum
    sent.fill()
    buffer[127] ^= 1
    with pytest.raises(ValueError, match="record 2 arrived as 2, or torn"):
        received.check()
