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

INSTRUMENT_VERSION_FIRST: Final = 1


class Footprint(NamedTuple):
    """How much was made."""

    segment_count: int
    byte_count: int


def create_all(system: str, run_dir: Path) -> Footprint:
    """Make every segment of the graph and the command queue.

    Raises:
        IpcError: one cannot be made; those made before are removed again.
    """
    made: list[str] = []
    specs = segment_specs()
    try:
        for spec in specs:
            ipc.create_segment(system, spec)
            made.append(spec.name)
        ipc.CommandQueue.create(run_dir)
    except BaseException:
        for name in made:
            ipc.unlink_segment(system, name)
        raise
    return Footprint(len(specs), sum(ipc.segment_bytes(spec) for spec in specs))


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
