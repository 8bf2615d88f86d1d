"""Positions, balances and profit from executions, checked against the venue.

Sole writer of ``positions``, ``balances`` and ``alerts``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from hft import counters, graph
from hft.core.assets import ASSET_IDS, AssetTable
from hft.core.generated.views import Alert, Balance, Execution, MarkPrice
from hft.core.generated.views import Position as PositionCell
from hft.core.positions import Position
from hft.counters import RoleState
from hft.errors import HftError
from hft.records import AlertCode, ExecKind, Kind, Mode
from hft.roles.context import Context, instrument_views
from hft.roles.order_resolver import LISTEN_KEY_FILE
from hft.roles.reconciliation import Reconciliation
from hft.roles.venue_access import make_rest
from hft.units import NS_PER_MS, format_e8
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.reports import BalanceReport, PositionReport
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials, load_credentials
from hft.venues.binance_usdm.user_events import AccountUpdate, MarginCall, OrderUpdate
from hft.venues.binance_usdm.user_session import UserSession
from hft.venues.binance_usdm.wire import ExecType

EXECUTIONS_PER_CYCLE_MAX: Final = 256
VALUE_EVERY_NS: Final = 100 * NS_PER_MS
KEY_POLL_S: Final = 0.05
START_RETRY_S: Final = 0.2
INFORMATION, WARNING, INCIDENT = 1, 2, 3


class _Wallet:
    """Wallet of one asset: ours, and the venue's at the last look."""

    __slots__ = ("as_of_seq", "available_e8", "venue_e8", "wallet_e8")

    def __init__(self, wallet_e8: int, as_of_seq: int = 0) -> None:
        self.as_of_seq = as_of_seq
        """Last executions record that a predecessor's cell included."""
        self.wallet_e8 = wallet_e8
        self.venue_e8 = wallet_e8
        self.available_e8 = 0


class Account:
    """Sums executions; the drop copy and REST only check them."""

    name = "account"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._page = context.page
        self._config = context.config.account
        self._executions, execution_buffer = context.ring_reader("executions")
        self._execution = Execution(execution_buffer)
        self._position_cells, position_buffer = context.cell_writer("positions")
        self._position_cell = PositionCell(position_buffer)
        self._balance_cells, balance_buffer = context.cell_writer("balances")
        self._balance_cell = Balance(balance_buffer)
        self._alerts, alert_buffer = context.ring_writer("alerts")
        self._alert_record = Alert(alert_buffer)
        self._marks, mark_buffer = context.cell_reader("marks")
        self._mark = MarkPrice(mark_buffer)
        self._assets = AssetTable()
        self._positions: dict[int, Position] = {}
        self._wallets: dict[int, _Wallet] = {}
        self._symbols = {i.symbol: i.instrument_id for i in context.plan.instruments}
        self._quote_ids: dict[int, int] = {}
        self._as_of: dict[int, int] = {}
        self._check = Reconciliation(settle_ns=self._config.settle_ms * NS_PER_MS)
        self._valued_ns = 0
        self._is_adopted = False
        self._key = ""
        self._credentials: Credentials
        self._rest: RestClient
        self._users: UserSession
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._guard: Callable[[Callable[..., None]], Callable[..., None]] = lambda handler: handler

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Take over what a predecessor committed; a first life adopts what the venue has."""
        self._page.state = int(RoleState.RECOVERING)
        for instrument_id, view in instrument_views(self._context).items():
            self._positions[instrument_id] = Position(instrument_id)
            self._quote_ids[instrument_id] = view.quote_asset_id
            self._as_of[instrument_id] = 0
            if self._position_cells.read(_cell(instrument_id)):
                self._positions[instrument_id].load_from(self._position_cell)
                self._as_of[instrument_id] = self._position_cell.executions_seq
                self._is_adopted = True
        for index in range(graph.ASSETS_MAX):
            if self._balance_cells.read(index):
                cell = self._balance_cell
                wallet = self._wallets[cell.asset_id] = _Wallet(cell.wallet_e8, cell.executions_seq)
                wallet.venue_e8, wallet.available_e8 = cell.venue_wallet_e8, cell.available_e8
        self._credentials = load_credentials(self._context.config.venue)

    def start_sessions(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        turn: Callable[[], None],
    ) -> None:
        """The drop copy, and the comparison every few seconds."""
        self._loop, self._guard = loop, guard
        endpoints = Endpoints.from_config(self._context.config.venue)
        self._rest = make_rest(self._context, self._config.weight_share, self._credentials)
        self._users = UserSession(
            endpoints,
            listen_key=self._listen_key,
            on_event=guard(self._on_user_event),
            on_state=guard(self._on_user_state),
            on_batch_end=turn,
        )
        self._users.start(loop)
        self._tasks = [
            loop.create_task(self._follow_listen_key()),
            loop.create_task(self._reconcile_for_ever()),
        ]

    def _listen_key(self) -> str:
        """Execution alone makes listen keys; the drop copy is a second socket on the same one."""
        return self._key

    async def _follow_listen_key(self) -> None:
        path = self._context.run_dir / LISTEN_KEY_FILE
        while not self._is_stopping:
            with contextlib.suppress(FileNotFoundError):
                key = path.read_text().strip()
                if key != self._key:
                    self._key = key
                    self._users.use_new_key()
            await asyncio.sleep(KEY_POLL_S)

    def _on_user_state(self, state: SessionState, detail: str) -> None:
        if state is not SessionState.ROTATED:  # UP follows it, and nothing was missed
            self._page.set_gauge(counters.SESSION_UP.id, int(state is SessionState.UP))

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Apply executions, value positions, look for trades that execution did not report."""
        if not self._is_adopted:
            return 0
        count = self._apply_executions(now_ns)
        if now_ns - self._valued_ns >= VALUE_EVERY_NS:
            self._valued_ns = now_ns
            for instrument_id, position in self._positions.items():
                if self._marks.read(instrument_id):
                    position.mark_e8 = self._mark.mark_e8
            self._publish()
            for instrument_id, trade_id in self._check.overdue_trades(now_ns):
                text = f"trade {trade_id} is in the drop copy but not in executions"
                self._alert(AlertCode.TRADE_NOT_EXECUTED, INCIDENT, text, instrument_id)
                self._page.count(counters.DIFFERENCES.id)
        return count

    def _apply_executions(self, now_ns: int) -> int:
        count = 0
        executions, record = self._executions, self._execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            count += 1
            if record.exec_kind == ExecKind.FILL and record.mode == Mode.LIVE:
                self._apply_fill(record, now_ns)
        if count:
            # Cells before cursor: a successor skips by sequence what the cells include.
            for instrument_id in self._as_of:
                self._as_of[instrument_id] = max(self._as_of[instrument_id], executions.seq)
            self._publish()
            executions.commit()
        return count

    def _apply_fill(self, record: Execution, now_ns: int) -> None:
        instrument_id = record.instrument_id
        if record.seq <= self._as_of[instrument_id]:
            return
        position = self._positions[instrument_id]
        quote_id = self._quote_ids[instrument_id]
        is_quote_fee = record.fee_asset_id == quote_id
        fee_e8 = record.fee_e8 if is_quote_fee else 0
        realised_e8 = position.apply_fill(record.side, record.qty_e8, record.price_e8, fee_e8)
        self._book(quote_id, realised_e8 - fee_e8, record.seq)
        if not is_quote_fee and record.fee_asset_id:
            self._book(record.fee_asset_id, -record.fee_e8, record.seq)
        self._page.count(counters.FILLS_APPLIED.id)
        self._check.on_own_trade(instrument_id, record.trade_id, record.side, now_ns)
        self._check.saw(("position", instrument_id), position.position_e8, now_ns)
        for asset_id, wallet in self._wallets.items():
            self._check.saw(("wallet", asset_id), wallet.wallet_e8, now_ns)

    def _book(self, asset_id: int, change_e8: int, seq: int) -> None:
        """Move a wallet, unless a predecessor's cell shows that it was moved already."""
        wallet = self._wallet(asset_id)
        if seq > wallet.as_of_seq:
            wallet.wallet_e8 += change_e8

    def _wallet(self, asset_id: int) -> _Wallet:
        wallet = self._wallets.get(asset_id)
        if wallet is None:
            wallet = self._wallets[asset_id] = _Wallet(0)
        return wallet

    def _publish(self) -> None:
        """Write every cell; each says which executions it includes.

        Wallets first: what a fill realised follows from the position before it, so a successor
        that finds an old position and a new wallet can tell, and the other way round it could not.
        """
        executions_seq = max(self._as_of.values(), default=0)
        for index, (asset_id, wallet) in enumerate(self._wallets.items()):
            self._publish_wallet(index, asset_id, wallet, executions_seq)
        cell = self._position_cell
        for instrument_id, position in self._positions.items():
            cell.clear()
            position.fill(cell)
            cell.mode, cell.source = int(Mode.LIVE), self._context.source
            cell.executions_seq = self._as_of[instrument_id]
            venue_e8 = self._check.venue_value(("position", instrument_id))
            cell.venue_position_e8 = position.position_e8 if venue_e8 is None else venue_e8
            cell.differs = self._check.differs(("position", instrument_id))
            cell.reconciled_ns = self._check.reconciled_ns
            self._position_cells.write(_cell(instrument_id))

    def _publish_wallet(
        self, index: int, asset_id: int, wallet: _Wallet, executions_seq: int
    ) -> None:
        if index >= graph.ASSETS_MAX:
            return
        cell = self._balance_cell
        cell.clear()
        cell.kind, cell.source = int(Kind.BALANCE), self._context.source
        cell.mode, cell.asset_id = int(Mode.LIVE), asset_id
        cell.wallet_e8, cell.venue_wallet_e8 = wallet.wallet_e8, wallet.venue_e8
        cell.available_e8, cell.executions_seq = wallet.available_e8, executions_seq
        cell.differs = self._check.differs(("wallet", asset_id))
        cell.reconciled_ns = self._check.reconciled_ns
        self._balance_cells.write(index)

    # -- drop copy ------------------------------------------------------------------------------

    def _on_user_event(self, event: Any, recv_ns: int) -> None:
        self._page.count(counters.DROP_COPIES.id)
        if isinstance(event, OrderUpdate):
            instrument_id = self._symbols.get(event.symbol)
            is_trade = event.exec_type in (ExecType.TRADE, ExecType.CALCULATED)
            if is_trade and instrument_id is not None and event.order_id:
                self._check.on_drop_copy(instrument_id, event.trade_id, event.side, recv_ns)
        elif isinstance(event, AccountUpdate):
            if event.cause != "ORDER":
                self._on_wallet_moved(event, recv_ns)
        elif isinstance(event, MarginCall):
            text = f"margin call for {' '.join(event.symbols)}"
            self._alert(AlertCode.MARGIN_CALL, INCIDENT, text)

    def _on_wallet_moved(self, event: AccountUpdate, recv_ns: int) -> None:
        """Funding, transfers and the like: what the wallet does without a trade of ours."""
        instrument_id = self._symbols.get(event.symbol)
        is_funding = event.cause == "FUNDING_FEE"
        for change in event.balances:
            wallet = self._wallet(self._assets.id_of(change.asset))
            wallet.wallet_e8 += change.change_e8
            self._check.saw(("wallet", self._assets.id_of(change.asset)), wallet.wallet_e8, recv_ns)
            if is_funding:
                self._page.count(counters.FUNDINGS.id)
                if instrument_id is not None:
                    self._positions[instrument_id].apply_funding(change.change_e8)
            else:
                text = f"{event.cause} {format_e8(change.change_e8)} {change.asset}"
                self._alert(AlertCode.WALLET_MOVED, INFORMATION, text)

    # -- reconciliation by REST -----------------------------------------------------------------

    async def _reconcile_for_ever(self) -> None:
        pause_s = START_RETRY_S
        while not self._is_stopping:
            try:
                if self._check.reconciled_ns == 0:
                    await self._rest.measure_clock_offset()
                started_ns = time.monotonic_ns()
                positions = await self._rest.position_risk()
                balances = await self._rest.balances()
            except HftError:
                await asyncio.sleep(START_RETRY_S)
                continue
            if self._is_adopted:
                self._guard(self._compare)(positions, balances, started_ns)
                pause_s = self._config.reconcile_s
            else:
                self._guard(self._adopt)(positions, balances)
            # A difference may still be on its way: look again soon, and only then call it one.
            if self._check.is_doubtful:
                pause_s = self._config.settle_ms / 1e3
                if self._page.state == RoleState.RECOVERING:
                    pause_s = START_RETRY_S  # others wait for the first agreement
            await asyncio.sleep(pause_s)

    def _adopt(self, positions: list[PositionReport], balances: list[BalanceReport]) -> None:
        """The first life takes the venue's word for everything that was there before."""
        for report in positions:
            instrument_id = self._symbols.get(report.symbol)
            if instrument_id is not None:
                self._positions[instrument_id].adopt(report.position_e8, report.entry_price_e8)
        for balance in balances:
            if balance.wallet_e8 or balance.asset in ASSET_IDS:
                wallet = self._wallet(self._assets.id_of(balance.asset))
                wallet.wallet_e8 = wallet.venue_e8 = balance.wallet_e8
                wallet.available_e8 = balance.available_e8
        self._is_adopted = True
        now_ns = time.monotonic_ns()
        self._check.begin(now_ns)
        self._check.end(now_ns)
        self._note_agreement(now_ns)
        self._publish()

    def _note_agreement(self, now_ns: int) -> None:
        self._page.set_gauge(counters.AGREES.id, int(self._check.agrees))
        if self._check.agrees:
            self._page.set_gauge(counters.RECONCILED_NS.id, now_ns)
            if self._page.state == RoleState.RECOVERING:
                self._page.state = int(RoleState.READY)

    def _compare(
        self,
        positions: list[PositionReport],
        balances: list[BalanceReport],
        started_ns: int,
    ) -> None:
        """Hold the venue's figures against every value that ours had meanwhile."""
        now_ns = time.monotonic_ns()
        check = self._check
        check.begin(started_ns)
        venue = dict.fromkeys(self._positions, 0)
        for report in positions:
            instrument_id = self._symbols.get(report.symbol)
            if instrument_id is not None:
                venue[instrument_id] = report.position_e8
        for instrument_id, venue_e8 in venue.items():
            ours_e8 = self._positions[instrument_id].position_e8
            check.compare(("position", instrument_id), ours_e8, venue_e8, now_ns)
        for balance in balances:
            asset_id = self._assets.id_of(balance.asset)
            wallet = self._wallets.get(asset_id)
            if wallet is None and not balance.wallet_e8:
                continue
            wallet = self._wallet(asset_id)
            wallet.venue_e8, wallet.available_e8 = balance.wallet_e8, balance.available_e8
            check.compare(("wallet", asset_id), wallet.wallet_e8, balance.wallet_e8, now_ns)
        self._page.count(counters.RECONCILIATIONS.id)
        for (what, number), ours_e8, venue_e8 in check.end(now_ns):
            code = AlertCode.POSITION_DIFFERS if what == "position" else AlertCode.WALLET_DIFFERS
            text = f"{what} {number}: {format_e8(ours_e8)}, venue {format_e8(venue_e8)}"
            self._alert(code, INCIDENT, text, value_e8=ours_e8, limit_e8=venue_e8)
            self._page.count(counters.DIFFERENCES.id)
        self._note_agreement(now_ns)
        self._publish()

    def _alert(
        self,
        code: AlertCode,
        severity: int,
        text: str,
        instrument_id: int = 0,
        *,
        value_e8: int = 0,
        limit_e8: int = 0,
    ) -> None:
        record = self._alert_record
        record.clear()
        record.kind, record.mode = int(Kind.ALERT), int(Mode.LIVE)
        record.source, record.instrument_id = self._context.source, instrument_id
        record.code, record.severity = int(code), severity
        record.value_e8, record.limit_e8 = value_e8, limit_e8
        record.text = text.encode()[:56]
        self._alerts.offer()

    # -- end ------------------------------------------------------------------------------------

    def on_stop(self, now_ns: int) -> bool:
        """Done when every execution is in the cells."""
        self._page.state = int(RoleState.STOPPING)
        return not self._executions.backlog

    def on_close(self) -> None:
        """Close the sockets; the cells stay."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        if self._loop is None:
            return  # it ended before any socket was opened
        self._users.stop()
        with contextlib.suppress(HftError, RuntimeError, OSError):  # the process ends anyway
            self._loop.run_until_complete(self._rest.close())


def _cell(instrument_id: int) -> int:
    return graph.position_cell(Mode.LIVE, instrument_id)
