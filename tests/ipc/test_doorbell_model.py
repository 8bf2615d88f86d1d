"""The doorbell's interleavings, every one of them, on a machine with store buffers.

Stress does not find a lost wake-up for which two processes have to stand between the same two
instructions, so the protocol of ``ipc/parker.pyx`` is explored as a model: each process is a
program of single memory operations; a store first enters its process's buffer and reaches memory at
any later time (total store order, as on x86); a fence waits for an empty buffer; exchange, wake and
the kernel's compare-and-sleep are atomic. A wake-up is lost when everybody has stopped, the reader
asleep, and a record it has not read is in memory.

The model is worth something only if it sees what is wrong with wrong protocols: the mutants at the
end are the mistakes that were made in this protocol's history, and each must be caught.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import pytest

AWAKE, FUTEX, FIFO = 0, 1, 2
Memory = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Protocol:
    """What is switched on; the defaults are the protocol as built."""

    records: int = 2
    writers: int = 1
    state: int = FUTEX
    timeouts: int = 1
    """How often the reader's sleep may end by itself: the bounded sleep must not cover the hole."""
    reader_fence: bool = True
    writer_fence: bool = True
    second_look: bool = True
    counted: bool = False
    """The historical mutant: a flag and a counter, cleared after the bump."""
    plain_clear: bool = False
    """The mutant whose writer loads and stores the word instead of exchanging it."""


@dataclass(frozen=True)
class Process:
    """Program counter, registers, store buffer."""

    at: str
    done: int = 0
    seen: int = 0
    buffer: tuple[tuple[str, int], ...] = ()
    asleep: bool = False


@dataclass(frozen=True)
class State:
    """Reader first, then the writers."""

    memory: Memory
    processes: tuple[Process, ...]
    timeouts: int

    def load(self, who: int, name: str) -> int:
        """Own buffer first, newest store first, then memory."""
        for stored, value in reversed(self.processes[who].buffer):
            if stored == name:
                return value
        return dict(self.memory)[name]

    def put(self, who: int, process: Process) -> State:
        processes = list(self.processes)
        processes[who] = process
        return replace(self, processes=tuple(processes))

    def write(self, **values: int) -> State:
        return replace(self, memory=tuple(sorted({**dict(self.memory), **values}.items())))


def go(state: State, who: int, at: str, **changes: object) -> State:
    return state.put(who, replace(state.processes[who], at=at, **changes))  # type: ignore[arg-type]


def store(state: State, who: int, name: str, value: int, at: str, **changes: object) -> State:
    buffer = (*state.processes[who].buffer, (name, value))
    return go(state, who, at, buffer=buffer, **changes)


class Model:
    """All states that a protocol can reach."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol: Final = protocol
        names = [f"data{writer}" for writer in range(1, protocol.writers + 1)]
        memory = dict.fromkeys([*names, "word", "count", "pipe"], 0)
        self.data: Final = names
        self.start: Final = State(
            tuple(sorted(memory.items())),
            (Process("read"), *(Process("publish") for _ in names)),
            protocol.timeouts,
        )

    def lost(self) -> tuple[int, list[State]]:
        """Number of states, and the final ones with a sleeping reader and an unread record."""
        reached = {self.start}
        todo = [self.start]
        bad = []
        while todo:
            state = todo.pop()
            following = self.steps(state)
            if not following and not self.is_finished(state):
                bad.append(state)
            for one in following:
                if one not in reached:
                    reached.add(one)
                    todo.append(one)
        return len(reached), bad

    def is_finished(self, state: State) -> bool:
        """The reader has read everything: however it sleeps now, nothing is lost."""
        return state.processes[0].done == self.protocol.records * self.protocol.writers

    def steps(self, state: State) -> list[State]:
        found = []
        for who, process in enumerate(state.processes):
            if process.buffer:
                (name, value), *rest = process.buffer
                flushed = go(state, who, process.at, buffer=tuple(rest))
                found.append(flushed.write(**{name: value}))
            step = self.reader(state) if who == 0 else self.writer(state, who)
            found.extend(step)
        return found

    def unread(self, state: State) -> bool:
        """The look: whether any ring holds a record that was not read."""
        return sum(state.load(0, name) for name in self.data) > state.processes[0].done

    def reader(self, state: State) -> list[State]:
        protocol, process = self.protocol, state.processes[0]
        match process.at:
            case "read":
                if self.unread(state):
                    return [go(state, 0, "read", done=process.done + 1)]
                if self.is_finished(state):
                    return []
                seen = state.load(0, "count") if protocol.counted else 0
                return [go(state, 0, "raise", seen=seen)]
            case "raise":
                state_word = FUTEX if protocol.counted else protocol.state
                return [store(state, 0, "word", state_word, "fence")]
            case "fence":
                if protocol.reader_fence and process.buffer:
                    return []
                return [go(state, 0, "look" if protocol.second_look else "sleep")]
            case "look":
                if self.unread(state):
                    return [store(state, 0, "word", AWAKE, "read")]
                return [go(state, 0, "sleep")]
            case "sleep":
                return self.sleep(state)
            case _:
                return self.wake_up(state)

    def sleep(self, state: State) -> list[State]:
        """The system call: it takes a lock, so the store buffer is empty, and compares."""
        protocol, process = self.protocol, state.processes[0]
        if process.buffer:
            return []
        if protocol.state == FIFO:
            return [go(state, 0, "asleep", asleep=True)]  # epoll: the pipe itself is the condition
        name, expected = ("count", process.seen) if protocol.counted else ("word", FUTEX)
        if dict(state.memory)[name] != expected:
            return [store(state, 0, "word", AWAKE, "read")]
        return [go(state, 0, "asleep", asleep=True)]

    def wake_up(self, state: State) -> list[State]:
        process = state.processes[0]
        memory = dict(state.memory)
        if self.protocol.state == FIFO and memory["pipe"]:
            return [store(state.write(pipe=0), 0, "word", AWAKE, "read", asleep=False)]
        if not process.asleep:  # a writer woke it
            return [store(state, 0, "word", AWAKE, "read")]
        if state.timeouts:
            later = replace(state, timeouts=state.timeouts - 1)
            return [store(later, 0, "word", AWAKE, "read", asleep=False)]
        return []

    def writer(self, state: State, who: int) -> list[State]:
        protocol, process = self.protocol, state.processes[who]
        match process.at:
            case "publish":
                if process.done == protocol.records:
                    return []
                done = process.done + 1
                return [store(state, who, f"data{who}", done, "fence", done=done)]
            case "fence":
                if protocol.writer_fence and process.buffer:
                    return []
                return [go(state, who, "check")]
            case "check":
                parked = state.load(who, "word") != AWAKE
                return [go(state, who, "ring" if parked else "publish")]
            case "ring":
                return self.ring(state, who)
            case "clear":  # mutants only
                return [store(state, who, "word", AWAKE, "wake")]
            case _:
                return [go(self.wake(state), who, "publish")]

    def ring(self, state: State, who: int) -> list[State]:
        process = state.processes[who]
        if self.protocol.plain_clear:
            return [store(state, who, "word", AWAKE, "wake")]
        if process.buffer:
            return []  # a locked instruction: the buffer goes first
        memory = dict(state.memory)
        if self.protocol.counted:
            return [go(state.write(count=memory["count"] + 1), who, "clear")]
        state = state.write(word=AWAKE)
        if memory["word"] == FIFO:
            return [go(state.write(pipe=1), who, "publish")]
        return [go(state, who, "wake" if memory["word"] == FUTEX else "publish")]

    def wake(self, state: State) -> State:
        """FUTEX_WAKE: wakes who sleeps at this moment, and nobody else."""
        reader = state.processes[0]
        if reader.asleep and self.protocol.state != FIFO:
            return state.put(0, replace(reader, asleep=False))
        return state


@pytest.mark.parametrize("state", [FUTEX, FIFO])
@pytest.mark.parametrize("timeouts", [0, 1, 2])
@pytest.mark.parametrize(("writers", "records"), [(1, 1), (1, 3), (2, 1), (2, 2)])
def test_no_interleaving_loses_a_wake_up(
    state: int, timeouts: int, writers: int, records: int
) -> None:
    protocol = Protocol(state=state, timeouts=timeouts, writers=writers, records=records)
    count, bad = Model(protocol).lost()
    assert count > 50 * writers * records
    assert bad == []


MUTANTS = {
    "no fence at the reader": Protocol(reader_fence=False),
    "no fence at the writer": Protocol(writer_fence=False),
    "no fence at all": Protocol(reader_fence=False, writer_fence=False),
    "no second look": Protocol(second_look=False),
    "two words, flag cleared after the counter was bumped": Protocol(counted=True, records=3),
    "event loop, no fence at the reader": Protocol(state=FIFO, reader_fence=False),
    "event loop, no fence at the writer": Protocol(state=FIFO, writer_fence=False),
    "event loop, no second look": Protocol(state=FIFO, second_look=False),
    "two writers, word cleared by a plain store": Protocol(plain_clear=True, writers=2),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_catches(name: str) -> None:
    _, bad = Model(replace(MUTANTS[name], timeouts=0)).lost()
    assert bad
    for state in bad:
        assert state.processes[0].at == "asleep"
