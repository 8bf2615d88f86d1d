"""Shared-memory segments: one creator makes them, everybody else attaches and checks.

A segment is the POSIX shared-memory object ``/hft.<system>.<segment>``. Its file belongs to the
role that writes it; all others map it read-only, so the kernel and not politeness keeps them from
writing. What is attached is compared with what was expected, fact by fact.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import struct
import time
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import posix_ipc

from ipc import layout
from ipc.errors import (
    BootIdError,
    MismatchError,
    ReadOnlyError,
    SegmentAccessError,
    SegmentBootError,
    SegmentCapacityError,
    SegmentError,
    SegmentExistsError,
    SegmentFileError,
    SegmentItemError,
    SegmentKindError,
    SegmentMagicError,
    SegmentMissingError,
    SegmentNameError,
    SegmentOwnerError,
    SegmentRecordError,
    SegmentSizeError,
    SegmentSpaceError,
    SegmentUnfinishedError,
    SegmentVersionError,
    WriterTakenError,
)
from ipc.layout import SegmentKind, SegmentSpec
from ipc.liveness import process_start_time
from ipc.memory import address_of, load_u64, lock_memory, store_u64, swap_u64

SHM_DIRECTORY: Final = "/dev/shm"
"""Where the C library keeps POSIX shared-memory objects on Linux."""
BOOT_ID_PATH: Final = "/proc/sys/kernel/random/boot_id"
BOOT_ID_VARIABLE: Final = "HFT_BOOT_ID"
"""Names the boot where it is set (systemd: ``%b``): /proc/sys may be hidden (``ProcSubset=pid``),
and in a container another mount of it may name another boot."""
_PREFIX: Final = "hft."
_RECREATE: Final = "remove the system's segments and create them again (hft down, hft up)"
_OPEN_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_WRITE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_PID_MASK: Final = (1 << layout.WRITER_PID_BITS) - 1
_boot_hash = 0
_owner_uids: frozenset[int] = frozenset()


def boot_hash() -> int:
    """64 bits that differ from one boot to the next.

    Raises:
        BootIdError: The kernel's file is hidden and the environment does not name the boot.
    """
    global _boot_hash
    if _boot_hash == 0:
        text = os.environ.get(BOOT_ID_VARIABLE, "")
        try:
            if not text:
                with open(BOOT_ID_PATH, encoding="ascii") as file:
                    text = file.read()
        except OSError as error:
            raise BootIdError(
                f"cannot read {BOOT_ID_PATH}: {error.strerror}",
                remedy=f"set {BOOT_ID_VARIABLE} (in a systemd unit: "
                f"Environment={BOOT_ID_VARIABLE}=%b)",
            ) from error
        canonical = text.strip().replace("-", "").lower()
        _boot_hash = int.from_bytes(sha256(canonical.encode()).digest()[:8], "little") or 1
    return _boot_hash


def trust_owners(uids: Iterable[int]) -> None:
    """From now on segments of these users may be attached, beside the caller's own and root's.

    With a user for each role nobody but the writer can write a segment, and everybody has to know
    whose it may be: names in /dev/shm are free for all to take.
    """
    global _owner_uids
    _owner_uids = frozenset(uids)


def object_name(system: str, segment: str) -> str:
    """Name of the POSIX shared-memory object.

    Raises:
        SegmentNameError: One of the names is not allowed.
    """
    if not layout.SYSTEM_NAME.fullmatch(system):
        raise SegmentNameError(
            segment,
            f"{system!r} cannot be a system's name",
            remedy="1 to 32 of a-z, 0-9 and -",
        )
    if not layout.SEGMENT_NAME.fullmatch(segment):
        raise SegmentNameError(
            segment, "this cannot be a segment's name", remedy="1 to 60 of a-z, 0-9, . _ and -"
        )
    return f"/{_PREFIX}{system}.{segment}"


def create_segment(
    system: str, spec: SegmentSpec, *, mode: int = 0o640, uid: int = -1, gid: int = -1
) -> None:
    """Make the segment, zeroed and with all its memory really there, and give it to its writer.

    Args:
        system: Name of the running system.
        spec: Its layout.
        mode: File mode, whatever the umask; a shared segment is writable for its group as well.
        uid: The writer's user, -1: the caller's.
        gid: The group that may read, -1: the caller's.

    Raises:
        SegmentExistsError: The name is taken.
        SegmentSpaceError: Shared memory is full; nothing is left behind.
        SegmentAccessError: The caller may not give the file to that user or group.
    """
    name = object_name(system, spec.name)
    size = layout.segment_bytes(spec)
    try:
        shared_memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600, size=0)
    except posix_ipc.ExistentialError:
        raise SegmentExistsError(
            spec.name,
            f"system {system!r} has it already",
            remedy=f"system {system!r} is running, or was not cleared away: hft down",
        ) from None
    except posix_ipc.PermissionsError:
        denied = OSError(errno.EACCES, os.strerror(errno.EACCES))
        raise _creation_error(spec.name, size, denied) from None
    except OSError as error:
        raise _creation_error(spec.name, size, error) from None
    descriptor = shared_memory.fd
    try:
        # Not ftruncate: a sparse file on a full tmpfs kills whoever touches it first (SIGBUS).
        os.posix_fallocate(descriptor, 0, size)
        _write_header(descriptor, spec, size)
        os.fchmod(descriptor, mode | 0o060 if spec.shared else mode)
        if uid != -1 or gid != -1:
            os.fchown(descriptor, uid, gid)
    except BaseException as error:
        shared_memory.unlink()
        if isinstance(error, OSError):
            raise _creation_error(spec.name, size, error) from None
        raise
    finally:
        os.close(descriptor)


def _creation_error(segment: str, size: int, error: OSError) -> SegmentError:
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.ENOMEM):
        return SegmentSpaceError(segment, bytes_needed=size)
    return SegmentAccessError(
        segment,
        f"cannot be created: {error.strerror}",
        remedy="only root, or the user and group themselves, may give a file away",
    )


def _write_header(descriptor: int, spec: SegmentSpec, size: int) -> None:
    with mmap.mmap(descriptor, layout.HEADER_BYTES) as header:
        fields = (
            ("I", layout.VERSION_OFFSET, layout.LAYOUT_VERSION),
            ("I", layout.KIND_OFFSET, spec.kind),
            ("Q", layout.ITEM_BYTES_OFFSET, spec.item_bytes),
            ("Q", layout.CAPACITY_OFFSET, spec.capacity),
            ("Q", layout.LAYOUT_HASH_OFFSET, spec.layout_hash),
            ("Q", layout.BOOT_HASH_OFFSET, boot_hash()),
            ("Q", layout.CREATOR_PID_OFFSET, os.getpid()),
            ("q", layout.CREATED_WALL_NS_OFFSET, time.time_ns()),
            ("Q", layout.SEGMENT_BYTES_OFFSET, size),
        )
        for code, offset, value in fields:
            struct.pack_into(code, header, offset, value)
        struct.pack_into(f"{layout.NAME_BYTES}s", header, layout.NAME_OFFSET, spec.name.encode())
        store_u64(header, layout.MAGIC_OFFSET, layout.MAGIC)


def unlink_segment(system: str, name: str) -> bool:
    """Remove the name; mappings live on. False: there was none. Only the creator does this."""
    try:
        posix_ipc.unlink_shared_memory(object_name(system, name))
    except posix_ipc.ExistentialError:
        return False
    except (PermissionError, posix_ipc.PermissionsError):
        raise SegmentAccessError(
            name, "cannot be removed: it belongs to another user", remedy="remove it as that user"
        ) from None
    return True


def list_segments(system: str) -> list[str]:
    """Names of the segments the system has at this moment, sorted."""
    prefix = object_name(system, "x")[1:-1]
    return sorted(
        name.removeprefix(prefix) for name in os.listdir(SHM_DIRECTORY) if name.startswith(prefix)
    )


def list_systems() -> list[str]:
    """Names of the systems that have at least one segment, sorted."""
    names = (name.split(".", 2) for name in os.listdir(SHM_DIRECTORY) if name.startswith(_PREFIX))
    return sorted({parts[1] for parts in names if len(parts) == 3 and parts[1]})


class Segment:
    """A mapped segment, checked. ``Segment.attach`` makes it."""

    def __init__(
        self,
        system: str,
        spec: SegmentSpec,
        mapping: mmap.mmap,
        inode: int,
        *,
        writable: bool,
        resident: bool = True,
    ) -> None:
        self.system: Final = system
        self.spec: Final = spec
        self.name: Final = spec.name
        self.writable: Final = writable
        self.buffer: Final = memoryview(mapping)
        """The whole segment; read-only unless attached for writing."""
        self.address: Final = address_of(self.buffer)
        self.is_locked: Final = resident and lock_memory(self.address, len(self.buffer))
        """Locked into memory; False when the limit on locked memory did not allow it."""
        self._mapping = mapping
        self._inode = inode
        self._path = SHM_DIRECTORY + object_name(system, spec.name)

    @classmethod
    def attach(
        cls,
        system: str,
        spec: SegmentSpec,
        *,
        writable: bool = False,
        owner_uid: int | None = None,
        resident: bool = True,
    ) -> Segment:
        """Map the segment and check that it is what ``spec`` says.

        Args:
            system: Name of the running system.
            spec: What the caller expects.
            writable: Map for writing: for the segment's only writer, or a shared segment.
            owner_uid: The user it has to belong to; None: the caller, root or a trusted one.
            resident: Map all its pages now and lock them, so that no access waits for the kernel;
                False: each page with its first access, for tools that look at a few of them.

        Raises:
            SegmentError: One subclass for each thing that can differ; see ``ipc.errors``.
        """
        descriptor = _open(system, spec.name, writable=writable)
        try:
            status = os.fstat(descriptor)
            _check_file(spec, status, owner_uid)
            _check_header(spec, os.pread(descriptor, layout.HEADER_BYTES, 0))
            _require(SegmentSizeError, spec, "its size", layout.segment_bytes(spec), status.st_size)
            mapping = mmap.mmap(
                descriptor,
                status.st_size,
                flags=mmap.MAP_SHARED | (mmap.MAP_POPULATE if resident else 0),
                prot=mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ,
            )
        finally:
            os.close(descriptor)
        return cls(system, spec, mapping, status.st_ino, writable=writable, resident=resident)

    @property
    def epoch(self) -> int:
        """How often the segment was acquired by a writer; a role page: that role's epoch."""
        return load_u64(self.buffer, layout.EPOCH_OFFSET)

    @property
    def writer_pid(self) -> int:
        """Process that acquired the segment last, dead or alive; 0: nobody yet."""
        return load_u64(self.buffer, layout.WRITER_OFFSET) & _PID_MASK

    def acquire_writer(self, epoch_min: int = 0) -> int:
        """Become the segment's only writer, and return the new epoch.

        Args:
            epoch_min: The new epoch is at least this, and in any case more than the last one.

        Raises:
            ReadOnlyError: It is mapped for reading.
            WriterTakenError: Another process is its writer and is alive.
        """
        self.require_writable()
        recorded = load_u64(self.buffer, layout.WRITER_OFFSET)
        own = _process_identity(os.getpid())
        if recorded not in (0, own) and recorded == _process_identity(recorded & _PID_MASK):
            raise WriterTakenError(self.name, pid=recorded & _PID_MASK)
        if not swap_u64(self.buffer, layout.WRITER_OFFSET, recorded, own):
            raise WriterTakenError(self.name, pid=self.writer_pid)
        epoch = max(self.epoch + 1, epoch_min)
        store_u64(self.buffer, layout.EPOCH_OFFSET, epoch)
        return epoch

    def require_writable(self) -> None:
        """Guard of everything that stores.

        Raises:
            ReadOnlyError: The segment is mapped for reading.
        """
        if not self.writable:
            raise ReadOnlyError(
                self.name,
                "it is mapped for reading",
                remedy="only a segment's writer attaches it with writable=True",
            )

    def inode_is_current(self) -> bool:
        """Whether the name still leads to this memory. False: it was removed or made anew."""
        try:
            return os.stat(self._path, follow_symlinks=False).st_ino == self._inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Unmap, unless rings or cells over it are still alive: then with the last of them."""
        with contextlib.suppress(BufferError):
            self.buffer.release()
            self._mapping.close()


def _process_identity(pid: int) -> int:
    """Start time and id of a living process in one word; 0: it is dead."""
    started = process_start_time(pid)
    return 0 if started is None else started << layout.WRITER_PID_BITS | pid


def _open(system: str, segment: str, *, writable: bool) -> int:
    path = SHM_DIRECTORY + object_name(system, segment)
    try:
        return os.open(path, _OPEN_WRITE if writable else _OPEN_READ)
    except FileNotFoundError:
        raise SegmentMissingError(
            segment,
            f"system {system!r} has none of that name",
            remedy=f"start system {system!r} (hft up), or name the one that is running",
        ) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _file_error(segment) from None
        raise SegmentAccessError(
            segment,
            f"cannot be opened for {'writing' if writable else 'reading'}: {error.strerror}",
            remedy="run as the role's user, or as a member of its group",
        ) from None


def _file_error(segment: str) -> SegmentFileError:
    return SegmentFileError(
        segment,
        "its name leads to a link or to something that is not a plain file",
        remedy="somebody else took the name: find out who, remove it, create the segments again",
    )


def _check_file(spec: SegmentSpec, status: os.stat_result, owner_uid: int | None) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _file_error(spec.name)
    owners = (os.geteuid(), 0, *_owner_uids) if owner_uid is None else (owner_uid,)
    if status.st_uid not in owners:
        raise SegmentOwnerError(
            spec.name,
            f"it belongs to user {status.st_uid}, expected {' or '.join(map(str, owners))}",
            remedy="name the user the system runs as, or remove the segment",
        )
    writable_by = 0o002 if spec.shared else 0o022
    if status.st_mode & writable_by:
        raise SegmentOwnerError(
            spec.name,
            f"its mode {stat.S_IMODE(status.st_mode):04o} lets others than its owner write",
            remedy=_RECREATE,
        )
    if status.st_size < layout.HEADER_BYTES:
        raise SegmentSizeError(
            spec.name,
            "its size",
            expected=layout.segment_bytes(spec),
            found=status.st_size,
            remedy=_RECREATE,
        )


def _check_header(spec: SegmentSpec, header: bytes) -> None:
    def number(offset: int) -> int:
        return int(struct.unpack_from("Q", header, offset)[0])

    if number(layout.MAGIC_OFFSET) == 0:
        raise SegmentUnfinishedError(
            spec.name, "its creator has not finished it, or died on the way", remedy=_RECREATE
        )
    magic = f"{layout.MAGIC:#018x}", f"{number(layout.MAGIC_OFFSET):#018x}"
    _require(SegmentMagicError, spec, "the magic", *magic)
    version, kind = struct.unpack_from("II", header, layout.VERSION_OFFSET)
    _require(SegmentVersionError, spec, "the layout version", layout.LAYOUT_VERSION, version)
    boots = f"{boot_hash():#018x}", f"{number(layout.BOOT_HASH_OFFSET):#018x}"
    _require(SegmentBootError, spec, "the boot it was made in", *boots)
    names = {int(member): member.name.lower() for member in SegmentKind}
    kinds = names[spec.kind], names.get(kind, f"unknown ({kind})")
    _require(SegmentKindError, spec, "the kind", *kinds)
    item_bytes = number(layout.ITEM_BYTES_OFFSET)
    _require(SegmentItemError, spec, "the item size in bytes", spec.item_bytes, item_bytes)
    capacity = number(layout.CAPACITY_OFFSET)
    _require(SegmentCapacityError, spec, "the capacity", spec.capacity, capacity)
    hashes = f"{spec.layout_hash:#018x}", f"{number(layout.LAYOUT_HASH_OFFSET):#018x}"
    _require(SegmentRecordError, spec, "the hash of its record type", *hashes)


def _require(
    error: type[MismatchError], spec: SegmentSpec, fact: str, expected: object, found: object
) -> None:
    if expected != found:
        raise error(spec.name, fact, expected=expected, found=found, remedy=_RECREATE)
