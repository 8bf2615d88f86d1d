"""What a system has in shared memory and in the kernel: made by one creator, removed by it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import ipc
from hft import graph
from hft.config import Plan
from hft.core.assets import ASSET_IDS
from hft.core.generated.views import Instrument
from hft.roles.context import BELLS_SPEC, HALT_SPEC, cells_spec, segment_specs
from hft.venues.binance_usdm.exchange_info import SymbolInfo
from ipc.layout import WRITER_OFFSET
from ipc.memory import store_u64

INSTRUMENT_VERSION_FIRST: Final = 1


class Footprint(NamedTuple):
    """How much was made."""

    segment_count: int
    byte_count: int


def create_all(system: str, run_dir: Path, owners: Mapping[str, int] | None = None) -> Footprint:
    """Make every segment of the graph and the command queue.

    Args:
        system: its name.
        run_dir: where the queue's key is noted.
        owners: user id by role: each segment is given to its writer. None: all stay the caller's.

    Raises:
        IpcError: one cannot be made; those made before are removed again.
    """
    made: list[str] = []
    specs = segment_specs()
    writers = segment_writers()
    try:
        for spec in specs:
            uid = (owners or {}).get(writers.get(spec.name, ""), -1)
            ipc.create_segment(system, spec, uid=uid)
            made.append(spec.name)
        ipc.CommandQueue.create(run_dir)
    except BaseException:
        for name in made:
            ipc.unlink_segment(system, name)
        raise
    return Footprint(len(specs), sum(ipc.segment_bytes(spec) for spec in specs))


def segment_writers() -> dict[str, str]:
    """The role that writes each segment, by name; those that all may write are not among them."""
    written = {spec.name: spec.writer for spec in (*graph.RINGS, *graph.CELLS)}
    pages = {graph.page_name(role): role for role in graph.ROLE_IDS}
    return {**written, **pages, graph.PERMIT: "risk"}


def remove_all(system: str, run_dir: Path) -> int:
    """Remove every segment of the system and its queue; returns how many there were."""
    count = sum(ipc.unlink_segment(system, name) for name in ipc.list_segments(system))
    return count + ipc.CommandQueue.remove(run_dir)


def write_instruments(plan: Plan, symbols: Mapping[str, SymbolInfo]) -> None:
    """Fill the instrument table before any role starts."""
    spec = cells_spec("instruments")
    buffer = bytearray(spec.item_bytes)
    view = Instrument(buffer)
    segment = ipc.Segment.attach(plan.name, spec, writable=True)
    writer = ipc.CellWriter(segment, buffer)
    for instrument in plan.instruments:
        buffer[:] = bytes(spec.item_bytes)
        info = symbols[instrument.symbol]
        info.fill_instrument(
            view,
            instrument.instrument_id,
            INSTRUMENT_VERSION_FIRST,
            quote_asset_id=ASSET_IDS.get(info.margin_asset, 0),
        )
        writer.write(instrument.instrument_id)
    store_u64(segment.buffer, WRITER_OFFSET, 0)  # from now on the table is the feed's
    segment.close()


class Bells:
    """Every process's bell, for somebody who is no role: the supervisor, a person's command."""

    def __init__(self, plan: Plan) -> None:
        self._segment = ipc.Segment.attach(plan.name, BELLS_SPEC, writable=True)
        self._bells = [
            ipc.Bell(self._segment, process.bell, Path(plan.run_dir) / f"{process.name}.fifo")
            for process in plan.processes
        ]

    def ring(self) -> None:
        """Wake every process that sleeps."""
        for bell in self._bells:
            with contextlib.suppress(OSError):  # a FIFO that is not there has no sleeper
                bell.ring()

    def close(self) -> None:
        """Detach."""
        self._bells.clear()
        self._segment.close()


def attach_halt(plan: Plan, *, writable: bool = False) -> ipc.HaltLatch:
    """The halt latch of a running system."""
    segment = ipc.Segment.attach(plan.name, HALT_SPEC, writable=writable)
    return ipc.HaltLatch(segment, Path(plan.run_dir))


def attach_page(plan: Plan, role: str) -> ipc.RolePage:
    """A role's page, to be read."""
    return ipc.RolePage.attach(plan.name, graph.page_name(role))
