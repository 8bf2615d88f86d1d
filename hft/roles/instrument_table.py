"""The instrument table, kept as the venue has it: filters and statuses change while we trade."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from hft.core.assets import ASSET_IDS
from hft.core.generated.views import Instrument
from hft.errors import HftError
from hft.records import InstrumentStatus, Kind
from hft.roles.context import Context
from hft.units import NS_PER_S
from hft.venues.binance_usdm.exchange_info import (
    EXCHANGE_INFO_PATH,
    ContractChange,
    SymbolInfo,
    parse_symbols,
)
from hft.venues.binance_usdm.rest import RestClient

VERSIONS: Final = 65_535
"""A version has 16 bits, and is never 0."""
TOLD_NS: Final = 60 * NS_PER_S
"""A status that the stream told holds for so long against exchangeInfo, which may be cached."""
PAUSE_S: Final = 1.0
"""Between two requests, however many events ask for one."""
RETRY_S: Final = 5.0
DOUBTFUL_S: Final = 30.0
"""While an instrument does not trade the venue is asked so often, lest its return be missed."""
TIMEOUT_S: Final = 10.0


class InstrumentTable:
    """Rows of the configured instruments. Sole writer of ``instruments``."""

    def __init__(self, context: Context) -> None:
        self._cells, self._row = context.cell_writer("instruments")
        self._view = Instrument(self._row)
        self._ids = {i.symbol: i.instrument_id for i in context.plan.instruments}
        self._told_until_ns: dict[int, int] = {}

    def is_trading(self, instrument_id: int) -> bool:
        """May the instrument be traded, as its row says?"""
        return self._status(instrument_id) == InstrumentStatus.TRADING

    @property
    def is_doubtful(self) -> bool:
        """Is there an instrument that does not trade?"""
        return not all(self.is_trading(instrument_id) for instrument_id in self._ids.values())

    def forget_told(self) -> None:
        """The stream was interrupted: what it told last may be old, exchangeInfo decides."""
        self._told_until_ns.clear()

    def _status(self, instrument_id: int) -> int:
        if not self._cells.read(instrument_id):
            return InstrumentStatus.UNKNOWN
        return self._view.status

    def on_contract_change(self, change: ContractChange, now_ns: int) -> list[int]:
        """Take over the status at once; the rest comes with the next ``on_exchange_info``.

        Returns the instruments whose rows changed.
        """
        instrument_id = self._ids.get(change.symbol, 0)
        if not instrument_id:
            return []
        self._told_until_ns[instrument_id] = now_ns + TOLD_NS
        return [instrument_id] if self._store(instrument_id, None, change.status, now_ns) else []

    def on_exchange_info(self, body: bytes, now_ns: int) -> list[int]:
        """Take over filters and statuses. Returns the instruments whose rows changed.

        A symbol that the venue does not list is DELISTED; one whose filters make no sense keeps
        its old ones, and its status is UNKNOWN: neither trades.

        Raises:
            VenueError: the body is not an exchangeInfo; nothing was changed.
        """
        listed = parse_symbols(body, tuple(self._ids))
        changed = []
        for symbol, instrument_id in self._ids.items():
            info = listed.get(symbol)
            if info is not None:
                status = info.status
            elif symbol in listed:
                status = InstrumentStatus.UNKNOWN
            else:
                status = InstrumentStatus.DELISTED
            if now_ns < self._told_until_ns.get(instrument_id, 0):
                status = InstrumentStatus(self._status(instrument_id))
            if self._store(instrument_id, info, status, now_ns):
                changed.append(instrument_id)
        return changed

    def _store(
        self,
        instrument_id: int,
        info: SymbolInfo | None,
        status: InstrumentStatus,
        now_ns: int,
    ) -> bool:
        """Write the row with the next version if something in it changes."""
        view = self._view
        if not self._cells.read(instrument_id):
            return False
        before = bytes(self._row)
        version = view.instrument_version
        if info is not None:
            asset_id = ASSET_IDS.get(info.margin_asset, view.quote_asset_id)
            info.fill_instrument(view, instrument_id, version, quote_asset_id=asset_id)
        view.status = int(status)
        if self._row == before:
            return False
        view.kind, view.publish_ns = int(Kind.INSTRUMENT), now_ns
        view.instrument_version = version % VERSIONS + 1
        self._cells.write(instrument_id)
        return True


class InstrumentKeeper:
    """Asks for exchangeInfo every now and then, and soon when something hints at a change."""

    def __init__(
        self,
        rest: RestClient,
        *,
        on_body: Callable[[bytes], None],
        is_doubtful: Callable[[], bool],
        refresh_s: float,
    ) -> None:
        self._rest = rest
        self._on_body = on_body
        self._is_doubtful = is_doubtful
        self._refresh_s = refresh_s
        self._wake = asyncio.Event()

    def hint(self) -> None:
        """Something may have changed: ask, at most once a second."""
        self._wake.set()

    async def run(self) -> None:
        """Ask now, then again and again, until cancelled."""
        while True:
            self._wake.clear()
            try:
                # A request weight of 1 for about a megabyte: the venue has no form for one symbol.
                body = await self._rest.request("GET", EXCHANGE_INFO_PATH, timeout_s=TIMEOUT_S)
            except HftError:
                wait_s = RETRY_S
            else:
                self._on_body(body)
                wait_s = DOUBTFUL_S if self._is_doubtful() else self._refresh_s
            await asyncio.sleep(PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, self._refresh_s)):
                    await self._wake.wait()
