"""HdrHistogram's own formats, for counts in the layout of the role pages.

The buckets of a role page are those of an HdrHistogram with two significant digits from 1 ns to
2^36 - 1 ns, so counts are copied, never re-counted. Written and read here: the V2 compressed
encoding (HdrHistogram, "V2CompressedEncoding"), and the percentile distribution that its plotters
take (``.hgrm``).
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hft.errors import UsageError
from ipc import bucket_value_max

Counts = NDArray[np.uint64]

DIGITS: Final = 2
VALUE_MIN: Final = 1
VALUE_MAX: Final = 2**36 - 1
_COOKIE: Final = 0x1C849303 | 0x10
_COOKIE_COMPRESSED: Final = 0x1C849304 | 0x10
_HEADER: Final = struct.Struct(">iiiiqqd")
_ENVELOPE: Final = struct.Struct(">ii")
_ZLIB_LEVEL: Final = 6
_HALF: Final = 128
TICKS_PER_HALVING: Final = 5
"""Rows of a percentile distribution for each halving of the distance to 100 %."""


def encode(counts: Counts) -> str:
    """Counts as the text that stands in a histogram log."""
    payload = b"".join(_varints(counts))
    header = _HEADER.pack(_COOKIE, len(payload), 0, DIGITS, VALUE_MIN, VALUE_MAX, 1.0)
    packed = zlib.compress(header + payload, _ZLIB_LEVEL)
    return base64.b64encode(_ENVELOPE.pack(_COOKIE_COMPRESSED, len(packed)) + packed).decode()


def decode(text: str, size: int) -> Counts:
    """The counts that ``encode`` wrote; ``size`` buckets.

    Raises:
        UsageError: the text is damaged, or is a histogram of another range or precision.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        cookie, length = _ENVELOPE.unpack_from(raw)
        if cookie != _COOKIE_COMPRESSED:
            raise ValueError("not a compressed V2 histogram")
        whole = zlib.decompress(raw[_ENVELOPE.size : _ENVELOPE.size + length])
        _, payload_bytes, _, digits, lowest, highest, _ = _HEADER.unpack_from(whole)
    except (binascii.Error, struct.error, zlib.error, ValueError) as error:
        raise UsageError(
            f"a histogram cannot be read: {error}", remedy="Is the log whole, and of `hft latency`?"
        ) from None
    if (digits, lowest, highest) != (DIGITS, VALUE_MIN, VALUE_MAX):
        raise UsageError(
            f"a histogram has {digits} digits from {lowest} to {highest}, not {DIGITS} from"
            f" {VALUE_MIN} to {VALUE_MAX}",
            remedy="Only logs of `hft latency dump` can be merged here.",
        )
    counts = np.zeros(size, dtype=np.uint64)
    index = 0
    for value in _unvarints(whole[_HEADER.size : _HEADER.size + payload_bytes]):
        if value < 0:
            index -= value
            continue
        if index >= size:
            raise UsageError("a histogram has too many buckets", remedy="The log is damaged.")
        counts[index] = value
        index += 1
    return counts


def _varints(counts: Counts) -> Iterator[bytes]:
    """Zig-zag LEB128; a run of empty buckets is one negative number."""
    used = np.flatnonzero(counts)
    last = int(used[-1]) + 1 if len(used) else 0
    zeros = 0
    for count in counts[:last].tolist():
        if not count:
            zeros += 1
            continue
        if zeros:
            yield _varint(-zeros if zeros > 1 else 0)
            zeros = 0
        yield _varint(count)


def _varint(value: int) -> bytes:
    bits = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)
    return bytes(out)


def _unvarints(raw: bytes) -> Iterator[int]:
    bits = shift = 0
    for byte in raw:
        bits |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield bits >> 1 if not bits & 1 else -((bits + 1) >> 1)
            bits = shift = 0


def percentile_rows(counts: Counts, most: int) -> Iterator[tuple[float, int, int]]:
    """(percentile as a share, value ns, count at or below it), closer and closer to 1.

    The last row is the maximum, exact.
    """
    total = int(counts.sum())
    if not total:
        return
    cumulated = counts.cumsum()
    share, step = 0.0, 0.5 / TICKS_PER_HALVING
    while True:
        rank = max(1, int(np.ceil(share * total)))
        if rank >= total:
            break
        index = int(cumulated.searchsorted(rank))
        yield share, min(bucket_value_max(index), most), int(cumulated[index])
        # HdrHistogram halves the step each time the distance to 1 has halved.
        halvings = int(np.floor(np.log2(1.0 / (1.0 - share))))
        step = 1.0 / (TICKS_PER_HALVING * 2.0 ** (halvings + 1))
        share += step
    yield 1.0, most, total


def hgrm(counts: Counts, most: int) -> str:
    """The percentile distribution as HdrHistogram prints it, values in µs."""
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for share, value_ns, count in percentile_rows(counts, most):
        row = f"{value_ns / 1e3:12.3f} {share:2.12f} {count:10d}"
        lines.append(row if share >= 1.0 else f"{row} {1 / (1 - share):14.2f}")
    mean, deviation = moments(counts)
    lines.append(f"#[Mean    = {mean / 1e3:12.3f}, StdDeviation   = {deviation / 1e3:12.3f}]")
    total = int(counts.sum())
    lines.append(f"#[Max     = {most / 1e3:12.3f}, Total count    = {total:12d}]")
    lines.append(f"#[Buckets = {len(counts) // _HALF - 1:12d}, SubBuckets     = {2 * _HALF:12d}]")
    return "\n".join(lines) + "\n"


def moments(counts: Counts) -> tuple[float, float]:
    """Mean and standard deviation, ns, each bucket taken at its middle; zeros without counts."""
    used = np.flatnonzero(counts)
    if not len(used):
        return 0.0, 0.0
    upper = np.array([bucket_value_max(int(index)) for index in used], dtype=np.float64)
    lower = np.array(
        [bucket_value_max(int(index) - 1) + 1 if index else 0 for index in used], dtype=np.float64
    )
    values, weights = (upper + lower) / 2, counts[used].astype(np.float64)
    mean = float(np.average(values, weights=weights))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
