"""Histogram logs (``.hlog``, format 1.3 of HdrHistogram) and percentile files (``.hgrm``)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from hft.errors import UsageError
from ipc import layout
from tools.latency import hdr
from tools.latency.hops import Hop

MS_PER_NS: Final = 1e-6
_HEAD: Final = "#[Histogram log format version 1.3]"
_LEGEND: Final = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


def log_head(out: TextIO, start_wall_ns: int) -> None:
    """What stands at the beginning of a log."""
    start_s = start_wall_ns / 1e9
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start_s))
    out.write(f"#[Logged by hft latency dump]\n{_HEAD}\n")
    out.write(f"#[StartTime: {start_s:.3f} (seconds since epoch), {when}]\n{_LEGEND}\n")


def log_interval(out: TextIO, hops: Iterable[Hop], start_s: float, length_s: float) -> int:
    """One line for each histogram that counted something; returns how many.

    ``start_s`` counts from the log's start time. The maximum is in ms, as HdrHistogram's tools
    take it for counts in ns.
    """
    lines = 0
    for hop in hops:
        if hop.total:
            most_ms = hop.max_ns * MS_PER_NS
            text = hdr.encode(hop.counts)
            out.write(f"Tag={hop.name},{start_s:.3f},{length_s:.3f},{most_ms:.6f},{text}\n")
            lines += 1
    return lines


def write_hgrm(directory: Path, hops: Iterable[Hop]) -> list[Path]:
    """One percentile file for each histogram that counted something."""
    written = []
    for hop in hops:
        if hop.total:
            path = directory / f"{hop.name}.hgrm"
            path.write_text(hdr.hgrm(hop.counts, hop.max_ns))
            written.append(path)
    return written


def read_logs(paths: Sequence[Path]) -> tuple[Hop, ...]:
    """All intervals of all logs, merged by tag, in the order in which the tags appear.

    Raises:
        UsageError: a file is no histogram log, or has a damaged line.
    """
    merged: dict[str, Hop] = {}
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            if not line.startswith("Tag="):
                continue
            try:
                tag, _start, _length, most_ms, text = line.rstrip("\n").split(",")
                most_ns = round(float(most_ms) / MS_PER_NS)
                counts = hdr.decode(text, layout.HISTOGRAM_BUCKETS)
            except (ValueError, UsageError) as error:
                raise UsageError(
                    f"{path} line {number} is damaged: {error}",
                    remedy="Take the line out, or dump again.",
                ) from None
            name = tag.removeprefix("Tag=")
            known = merged.get(name)
            if known is not None:
                counts, most_ns = counts + known.counts, max(most_ns, known.max_ns)
            merged[name] = Hop(name, "", "", counts.astype(np.uint64), most_ns)
    if not merged:
        raise UsageError(
            f"{', '.join(map(str, paths))}: no histogram in there",
            remedy="Logs are written by `hft latency dump`.",
        )
    return tuple(merged.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
        raise UsageError(f"cannot read {path}: {why}", remedy="Name a .hlog file.") from None
