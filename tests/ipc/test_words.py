"""Words: the permit, the cursors, latches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ipc
from ipc import Segment, SegmentKind, SegmentSpec, Word

PERMIT = SegmentSpec("permit", SegmentKind.WORDS, 8, 8)
Attach = Callable[..., Segment]


def test_what_is_stored_is_loaded_through_every_mapping(attach: Attach) -> None:
    mine, theirs = attach(PERMIT, writable=True), attach(PERMIT)
    word = Word(mine, 3)
    word.store(2**64 - 1)
    assert Word(theirs, 3).load() == Word(theirs, 3).value == 2**64 - 1
    assert Word(theirs, 2).load() == 0
    assert word.add(2) == 2**64 - 1
    assert word.load() == 1
    assert word.swap(1, 9)
    assert not word.swap(1, 10)
    assert word.load() == 9


def test_stores_through_a_reading_mapping_are_refused(attach: Attach) -> None:
    word = Word(attach(PERMIT), 0)
    assert not word.writable
    for store in (lambda: word.store(1), lambda: word.add(1), lambda: word.swap(0, 1)):
        with pytest.raises(ipc.ReadOnlyError):
            store()


def test_wrong_words_are_refused(attach: Attach) -> None:
    with pytest.raises(IndexError, match="8 words, there is no word 8"):
        Word(attach(PERMIT), 8)
    with pytest.raises(OverflowError):
        Word(attach(PERMIT, writable=True), 0).store(-1)
    ring = attach(SegmentSpec("ring", SegmentKind.RING, 128, 8))
    with pytest.raises(ipc.SegmentKindError, match="kind is ring, expected words"):
        Word(ring, 0)


def test_a_latch_is_set_once_its_word_is_not_zero(attach: Attach) -> None:
    latch = ipc.Latch(attach(PERMIT, writable=True), 1)
    assert not latch.is_set
    latch.store(1)
    assert latch.is_set
