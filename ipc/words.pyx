"""Aligned 64-bit words in shared memory: permit, cursors, the halt latch."""

from libc.stdint cimport uint64_t, uintptr_t

from ipc.atomics cimport compare_and_swap, fetch_add, load_acquire, store_release

from ipc import layout
from ipc.errors import SegmentKindError


cdef class Word:
    """Word ``index`` of a WORDS segment: loads with acquire, stores with release order.

    Raises:
        SegmentKindError: The segment holds something else than words.
        IndexError: There is no such word.
    """

    def __init__(self, segment, Py_ssize_t index=0):
        spec = segment.spec
        if spec.kind != layout.SegmentKind.WORDS:
            raise SegmentKindError(
                spec.name, "the kind", expected="words", found=spec.kind.name.lower(), remedy=""
            )
        if not 0 <= index < spec.capacity:
            raise IndexError(f"{spec.name} has {spec.capacity} words, there is no word {index}")
        self.bind(segment, layout.ITEMS_OFFSET + index * spec.item_bytes)

    cdef bind(self, object segment, size_t offset):
        self.word = <uint64_t*> (<uintptr_t> segment.address + offset)
        self.writable = segment.writable
        self.owner = segment
        self.hold = memoryview(segment.buffer)

    @staticmethod
    def at(segment, size_t offset) -> Word:
        """The word at a byte offset of any segment; ``ipc.layout`` is where offsets come from."""
        cdef Word word = Word.__new__(Word)
        word.bind(segment, offset)
        return word

    @property
    def value(self) -> int:
        """The word, loaded with acquire order."""
        return load_acquire(self.word)

    def load(self) -> int:
        """The word, loaded with acquire order."""
        return load_acquire(self.word)

    def store(self, uint64_t value) -> None:
        """Store with release order: for the word's only writer.

        Raises:
            ReadOnlyError: The segment is mapped for reading.
        """
        if not self.writable:
            self.owner.require_writable()
        store_release(self.word, value)

    def add(self, uint64_t count=1) -> int:
        """Add atomically, for words of several writers; returns the value before."""
        if not self.writable:
            self.owner.require_writable()
        return fetch_add(self.word, count)

    def swap(self, uint64_t expected, uint64_t value) -> bool:
        """Replace ``expected`` by ``value`` in one step. False: another value stood there."""
        if not self.writable:
            self.owner.require_writable()
        return compare_and_swap(self.word, expected, value)


cdef class Cursor(Word):
    """Sequence of the last record a reader is done with; a word of its role page."""

    @staticmethod
    def at(segment, size_t offset) -> Cursor:
        """The cursor at a byte offset of a role page."""
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cursor.bind(segment, offset)
        return cursor


cdef class Latch(Word):
    """A word that is set once and stays set."""

    @property
    def is_set(self) -> bool:
        """Whether the latch has fallen: one load."""
        return load_acquire(self.word) != 0
