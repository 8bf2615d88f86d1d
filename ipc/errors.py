"""Every error of the ``ipc`` package.

::

    IpcError                        message: what and where; remedy: what to do
    ├── SegmentError                one shared-memory segment; ``segment`` is its name
    │   ├── SegmentNameError        the name cannot be a segment's or a system's
    │   ├── SegmentMissingError     nothing has that name
    │   ├── SegmentExistsError      create: the name is taken
    │   ├── SegmentSpaceError       create: shared memory is full
    │   ├── SegmentFileError        a symbolic link, a hard link, a directory: not a plain file
    │   ├── SegmentAccessError      the kernel refuses to open it, or to give it away
    │   ├── SegmentOwnerError       it belongs to somebody else, or anybody may write it
    │   ├── SegmentUnfinishedError  its creator has not finished, or died on the way
    │   ├── ReadOnlyError           a store into a mapping made for reading
    │   └── MismatchError           a fact that differs: ``expected``, ``found``
    │       ├── SegmentSizeError      the file is shorter or longer than its layout
    │       ├── SegmentMagicError     the first eight bytes are not ours
    │       ├── SegmentVersionError   made by another version of this package
    │       ├── SegmentKindError      a ring where cells are expected, and so on
    │       ├── SegmentItemError      slots, cells or words of another size
    │       ├── SegmentCapacityError  another number of slots, cells or words
    │       ├── SegmentRecordError    another record type: the layout hash differs
    │       └── SegmentBootError      left over from before the last boot
    ├── WriterTakenError            a living process already writes this segment
    ├── LockTakenError              a living process already holds this role's lock
    ├── CursorError                 a cursor stands where its ring has never been
    ├── PendingError                a batch is committed that was not the one begun
    ├── CellContendedError          a cell is overwritten faster than it can be copied
    ├── BootIdError                 this system's boot id cannot be read
    └── CommandError                the command queue
        ├── CommandQueueMissingError  there is no queue in this run directory
        ├── CommandQueueExistsError   there already is one
        ├── CommandAccessError        the queue is another user's
        ├── CommandQueueFullError     nobody takes the commands out
        └── CommandSizeError          a command of more than the bytes allowed
"""

from __future__ import annotations


class IpcError(Exception):
    """Base of the tree. ``message`` says what is wrong and where, ``remedy`` what to do."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class SegmentError(IpcError):
    """Something is wrong with the segment called ``segment``."""

    def __init__(self, segment: str, problem: str, *, remedy: str = "") -> None:
        super().__init__(f"segment {segment}: {problem}", remedy=remedy)
        self.segment = segment


class SegmentNameError(SegmentError):
    """The name holds characters that a name may not have, or is too long."""


class SegmentMissingError(SegmentError):
    """There is no segment of that name."""


class SegmentExistsError(SegmentError):
    """A segment of that name is there already."""


class SegmentSpaceError(SegmentError):
    """Shared memory has no room for ``bytes_needed`` more; nothing was left behind."""

    def __init__(self, segment: str, *, bytes_needed: int) -> None:
        super().__init__(
            segment,
            f"shared memory has no room for its {bytes_needed} bytes",
            remedy="free space in /dev/shm (`df /dev/shm`) or mount it with a larger size=",
        )
        self.bytes_needed = bytes_needed


class SegmentFileError(SegmentError):
    """The name leads to something that is not a plain file of its own."""


class SegmentAccessError(SegmentError):
    """The kernel refuses the access or the change of owner."""


class SegmentOwnerError(SegmentError):
    """The owner or the mode is not what it has to be."""


class MismatchError(SegmentError):
    """A fact of the segment differs from what the reader expects: ``expected`` and ``found``."""

    def __init__(
        self, segment: str, fact: str, *, expected: object, found: object, remedy: str
    ) -> None:
        super().__init__(segment, f"{fact} is {found}, expected {expected}", remedy=remedy)
        self.expected = expected
        self.found = found


class SegmentSizeError(MismatchError):
    """The file is shorter or longer than its layout says."""


class SegmentMagicError(MismatchError):
    """Not one of our segments: the magic differs."""


class SegmentUnfinishedError(SegmentError):
    """The magic is still zero: the creator is at work, or died before it finished."""


class SegmentVersionError(MismatchError):
    """Made by a version of this package with another byte layout."""


class SegmentKindError(MismatchError):
    """Of another kind."""


class SegmentItemError(MismatchError):
    """Its slots, cells or words have another size."""


class SegmentCapacityError(MismatchError):
    """It has another number of slots, cells or words."""


class SegmentRecordError(MismatchError):
    """Its record type is another one: the layout hash differs."""


class SegmentBootError(MismatchError):
    """Made before the last boot."""


class ReadOnlyError(SegmentError):
    """A store was asked for through a mapping made for reading."""


class WriterTakenError(IpcError):
    """The segment has a writer, process ``pid``, and it is alive."""

    def __init__(self, segment: str, *, pid: int) -> None:
        super().__init__(
            f"segment {segment}: process {pid} is its writer and is alive",
            remedy=f"a segment has one writer: end process {pid} first",
        )
        self.segment = segment
        self.pid = pid


class LockTakenError(IpcError):
    """The lock of ``role`` is held by process ``pid`` (0: not known)."""

    def __init__(self, role: str, *, pid: int) -> None:
        super().__init__(
            f"role {role}: its lock is held by process {pid or 'unknown'}",
            remedy=f"one process per role: end process {pid} first" if pid else "",
        )
        self.role = role
        self.pid = pid


class CursorError(IpcError):
    """``cursor`` is beyond ``newest``, the last record its ring ever showed."""

    def __init__(self, segment: str, *, cursor: int, newest: int) -> None:
        super().__init__(
            f"segment {segment}: a cursor stands at {cursor}, the newest record is {newest}",
            remedy="ring and role page are of different ages: remove and create all segments",
        )
        self.cursor = cursor
        self.newest = newest


class PendingError(IpcError):
    """Input ``input_seq`` is committed while ``begun_seq`` is pending."""

    def __init__(self, slot: int, *, begun_seq: int, input_seq: int) -> None:
        super().__init__(
            f"pending slot {slot}: input {begun_seq} was begun, input {input_seq} is committed"
        )
        self.slot = slot
        self.begun_seq = begun_seq
        self.input_seq = input_seq


class CellContendedError(IpcError):
    """No quiet moment to copy cell ``index`` was found: its writer never pauses."""

    def __init__(self, segment: str, *, index: int) -> None:
        super().__init__(f"segment {segment}: cell {index} is overwritten faster than it is read")
        self.index = index


class BootIdError(IpcError):
    """Neither the kernel's file nor the environment says which boot this is."""


class CommandError(IpcError):
    """Base of the command queue's errors."""


class CommandQueueMissingError(CommandError):
    """There is no command queue."""


class CommandQueueExistsError(CommandError):
    """There already is a command queue."""


class CommandAccessError(CommandError):
    """The kernel refuses this user the queue or its key file."""


class CommandQueueFullError(CommandError):
    """The queue holds as much as the kernel allows."""


class CommandSizeError(CommandError):
    """The command is ``body_bytes`` long; ``body_bytes_max`` are allowed."""

    def __init__(self, *, body_bytes: int, body_bytes_max: int) -> None:
        super().__init__(f"the command has {body_bytes} bytes, allowed are {body_bytes_max}")
        self.body_bytes = body_bytes
        self.body_bytes_max = body_bytes_max
