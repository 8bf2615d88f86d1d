"""The command queue and the halt latch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sysv_ipc

import ipc
from ipc import Command, CommandQueue, HaltLatch, Segment, SegmentKind, SegmentSpec
from ipc.commands import BODY_BYTES_MAX, COMMAND_NS_MAX, HALT_FILE, KEY_FILE

RISK, EXECUTION = 3, 4
HALT = SegmentSpec("halt", SegmentKind.WORDS, 8, 8, shared=True)


@pytest.fixture
def queue(run_dir: Path) -> Iterator[CommandQueue]:
    yield CommandQueue.create(run_dir)
    CommandQueue.remove(run_dir)


def command(name: str = "pause", **changes: object) -> Command:
    return Command.make(name, sender="operator", reason="test")._replace(**changes)  # type: ignore[arg-type]


def test_each_role_takes_out_its_own_in_order(queue: CommandQueue, run_dir: Path) -> None:
    sender = CommandQueue.attach(run_dir)
    first, second, third = command("pause"), command("reload"), command("reduce")
    sender.send(RISK, first)
    sender.send(EXECUTION, second)
    sender.send(RISK, third)
    assert queue.receive(RISK) == first
    assert queue.receive(RISK) == third
    assert queue.receive(RISK) is None
    assert queue.receive(EXECUTION) == second
    assert queue.dropped == 0
    assert first.args == {"reason": "test"}


@pytest.mark.parametrize("age_ns", [COMMAND_NS_MAX + 1_000_000_000, -COMMAND_NS_MAX - 10**10])
def test_stale_commands_are_dropped_and_counted(queue: CommandQueue, age_ns: int) -> None:
    fresh = command()
    queue.send(RISK, command(issued_wall_ns=time.time_ns() - age_ns))
    queue.send(RISK, fresh)
    assert queue.receive(RISK) == fresh
    assert queue.dropped == 1


def test_commands_for_another_life_are_dropped(queue: CommandQueue) -> None:
    for epoch in (7, 0, 8):
        queue.send(RISK, command(target_epoch=epoch))
    taken = []
    while (one := queue.receive(RISK, epoch=8)) is not None:
        taken.append(one.target_epoch)
    assert taken == [0, 8]
    assert queue.dropped == 1


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\xff\xfe", b"[]", b"{}", b'"x"', b'{"name": 1}', b"[" * 2000, b" " * 8000),
        json.dumps({**command()._asdict(), "args": 5}).encode(),
        json.dumps({**command()._asdict(), "extra": 5}).encode(),
    ],
)
def test_nonsense_is_dropped_and_counted(queue: CommandQueue, run_dir: Path, body: bytes) -> None:
    key = int((run_dir / KEY_FILE).read_text())
    sysv_ipc.MessageQueue(key, max_message_size=8192).send(body, type=RISK)
    assert queue.receive(RISK) is None
    assert queue.dropped == 1


def test_a_command_that_is_too_long_is_refused(queue: CommandQueue) -> None:
    with pytest.raises(ipc.CommandSizeError, match=f"allowed are {BODY_BYTES_MAX}"):
        queue.send(RISK, command(args={"text": "x" * BODY_BYTES_MAX}))
    assert queue.receive(RISK) is None


def test_a_full_queue_is_told_and_does_not_block(queue: CommandQueue) -> None:
    big = command(args={"text": "x" * 1500})

    def fill() -> None:
        for _ in range(1_000_000):
            queue.send(RISK, big)

    with pytest.raises(ipc.CommandQueueFullError, match="commands wait"):
        fill()
    assert queue.receive(RISK) == big
    queue.send(EXECUTION, big)


def test_one_queue_per_run_directory(queue: CommandQueue, run_dir: Path) -> None:
    with pytest.raises(ipc.CommandQueueExistsError, match="has a command queue already"):
        CommandQueue.create(run_dir)
    queue.send(RISK, command())
    assert CommandQueue.attach(run_dir).receive(RISK) is not None


def test_removal_leaves_nothing_and_later_use_is_told(run_dir: Path) -> None:
    queue = CommandQueue.create(run_dir)
    assert CommandQueue.remove(run_dir)
    assert not CommandQueue.remove(run_dir)
    assert list(run_dir.iterdir()) == []
    with pytest.raises(ipc.CommandQueueMissingError):
        CommandQueue.attach(run_dir)
    with pytest.raises(ipc.CommandQueueMissingError):
        queue.send(RISK, command())
    with pytest.raises(ipc.CommandQueueMissingError):
        queue.receive(RISK)


@pytest.mark.parametrize("content", ["not a number", "", "-5"])
def test_a_broken_key_file_means_no_queue_and_can_be_removed(run_dir: Path, content: str) -> None:
    (run_dir / KEY_FILE).write_text(content)
    with pytest.raises(ipc.CommandQueueMissingError):
        CommandQueue.attach(run_dir)
    assert CommandQueue.remove(run_dir)
    CommandQueue.create(run_dir)
    CommandQueue.remove(run_dir)


@pytest.fixture
def latch(attach: Callable[..., Segment], run_dir: Path) -> HaltLatch:
    return HaltLatch(attach(HALT, writable=True), run_dir)


def test_the_first_halt_wins_and_everybody_sees_it(
    latch: HaltLatch, attach: Callable[..., Segment], run_dir: Path
) -> None:
    other = HaltLatch(attach(HALT), run_dir)
    assert not other.is_set
    assert other.reason() == ""
    assert latch.set("loss limit", "risk")
    assert not latch.set("second thoughts", "operator")
    assert other.is_set
    assert other.reason().startswith("loss limit (by risk, 20")
    assert [path.name for path in run_dir.iterdir()] == [HALT_FILE]


def test_clearing_takes_word_and_file_back(latch: HaltLatch, run_dir: Path) -> None:
    latch.set("x", "y")
    latch.clear()
    latch.clear()
    assert not latch.is_set
    assert latch.reason() == ""
    assert not latch.refresh()
    assert latch.set("again", "y")


def test_a_file_made_by_hand_halts_at_the_next_refresh(latch: HaltLatch, run_dir: Path) -> None:
    (run_dir / HALT_FILE).write_text("I do not trust this market\n")
    assert not latch.is_set
    assert latch.refresh()
    assert latch.is_set
    assert latch.reason() == "I do not trust this market"
    assert not latch.set("later", "risk")
    assert latch.reason() == "I do not trust this market"


def test_a_halt_whose_setter_died_before_the_file_stays_set(
    latch: HaltLatch, run_dir: Path
) -> None:
    latch.swap(0, 1)
    assert latch.refresh()
    assert latch.reason() == "no reason was left"
    (run_dir / HALT_FILE).touch()
    assert latch.reason() == "no reason was left"
    (run_dir / HALT_FILE).unlink()
    assert not latch.set("who comes next, says why", "supervisor")
    assert latch.reason().startswith("who comes next")


def test_a_reading_mapping_cannot_halt_but_the_file_can(
    latch: HaltLatch, attach: Callable[..., Segment], run_dir: Path
) -> None:
    with pytest.raises(ipc.ReadOnlyError):
        HaltLatch(attach(HALT), run_dir).set("x", str(os.getpid()))
    assert not latch.is_set
