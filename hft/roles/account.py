"""Positions, balances and profit from executions, checked against the venue.

Sole writer of ``positions``, ``balances`` and ``alerts``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from hft import counters, graph
from hft.core.assets import ASSET_IDS
from hft.core.generated.views import Balance, Execution, MarkPrice
from hft.core.generated.views import Position as PositionCell
from hft.core.positions import Position
from hft.counters import RoleState
from hft.errors import HftError
from hft.records import AlertCode, ExecKind, Mode, Reason
from hft.roles.alerts import Alerts, Severity
from hft.roles.context import Context, instrument_views
from hft.roles.order_resolver import LISTEN_KEY_FILE
from hft.roles.paper_account import PaperAccount
from hft.roles.reconciliation import Difference, Key, Reconciliation, TradeCheck
from hft.roles.venue_access import VenueLimits, make_rest
from hft.roles.venue_look import Look, incomes_since, look_at_venue
from hft.roles.wallets import Move, Wallet, Wallets, fill_balance
from hft.units import NS_PER_MS, NS_PER_S, format_e8
from hft.venues.binance_usdm.endpoints import Endpoints
from hft.venues.binance_usdm.link import SessionState
from hft.venues.binance_usdm.reports import IncomeReport
from hft.venues.binance_usdm.rest import RestClient
from hft.venues.binance_usdm.signing import Credentials, load_credentials
from hft.venues.binance_usdm.user_events import AccountUpdate, MarginCall, OrderUpdate
from hft.venues.binance_usdm.user_session import UserSession
from hft.venues.binance_usdm.wire import ExecType

EXECUTIONS_PER_CYCLE_MAX: Final = 256
VALUE_EVERY_NS: Final = 100 * NS_PER_MS
KEY_POLL_S: Final = 0.05
START_RETRY_S: Final = 0.2
EXECUTION_AGE_NS_MAX: Final = NS_PER_S
"""Execution that has not beaten for so long cannot explain a difference."""
REOPEN_EVERY_NS: Final = 10 * NS_PER_S
INCOME_MARGIN_NS: Final = 10 * NS_PER_S
"""The income history is asked for from so long before the wallets agreed last."""
_ASSETS: Final = frozenset(ASSET_IDS.values())


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
        self._alerts = Alerts(context)
        self._paper = PaperAccount(
            context,
            (self._position_cells, self._position_cell),
            (self._balance_cells, self._balance_cell),
            self._alerts,
        )
        self._marks, mark_buffer = context.cell_reader("marks")
        self._mark = MarkPrice(mark_buffer)
        self._execution_page = context.page_of("execution")
        self._positions: dict[int, Position] = {}
        self._wallets = Wallets()
        self._symbols = {i.symbol: i.instrument_id for i in context.plan.instruments}
        self._quote_ids: dict[int, int] = {}
        self._as_of: dict[int, int] = {}
        settle_ns = self._config.settle_ms * NS_PER_MS
        self._check = Reconciliation(settle_ns=settle_ns)
        self._trades = TradeCheck(settle_ns=settle_ns)
        self._valued_ns = 0
        self._agreed_ns = 0
        self._reopened_ns = 0
        self._execution_epoch = 0
        self._is_adopted = self._is_clock_measured = False
        self._last_look: Look | None = None
        self._compared: Look | None = None
        self._key = ""
        self._credentials: Credentials
        self._rest: RestClient
        self._users: UserSession
        self._is_stopping = False
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._guard: Callable[[Callable[..., None]], Callable[..., None]] = lambda handler: handler

    # -- start ----------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> None:
        """Take over what a predecessor committed; a first life adopts what the venue has.

        A predecessor that died while it wrote its first cells has left nothing to take over.
        """
        self._page.state = int(RoleState.RECOVERING)
        is_complete = True
        for instrument_id, view in instrument_views(self._context).items():
            self._positions[instrument_id] = position = Position(instrument_id)
            self._quote_ids[instrument_id] = view.quote_asset_id
            self._as_of[instrument_id] = 0
            if self._position_cells.read(_cell(instrument_id)):
                position.load_from(self._position_cell)
                self._as_of[instrument_id] = self._position_cell.executions_seq
                self._agreed_ns = self._position_cell.reconciled_ns
            else:
                is_complete = False
        self._is_adopted = is_complete
        if is_complete:
            for index in range(graph.ASSETS_MAX):
                if self._balance_cells.read(index):
                    self._wallets.load(self._balance_cell)
        else:
            self._positions = {number: Position(number) for number in self._positions}
            self._as_of = dict.fromkeys(self._positions, 0)
        self._paper.load(self._quote_ids)
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
        address = VenueLimits(self._context)
        share = self._config.weight_share
        self._rest = make_rest(self._context, share, self._credentials, address)
        self._users = UserSession(
            endpoints,
            listen_key=self._listen_key,
            on_event=guard(self._on_user_event),
            on_state=address.watched("users", guard(self._on_user_state)),
            on_batch_end=turn,
            may_connect=address.may_connect("users"),
            on_refused=address.on_refused,
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
        if state is SessionState.ROTATED:
            return  # UP follows it, and nothing was missed
        is_up = state is SessionState.UP
        self._page.set_gauge(counters.SESSION_UP.id, int(is_up))
        if is_up:
            self._trades.heard(time.monotonic_ns())
            self._hurry.set()  # what moved the wallets meanwhile, nobody told us

    # -- cycle ----------------------------------------------------------------------------------

    def do_work(self, now_ns: int) -> int:
        """Apply executions, value positions, look for trades that only one source shows."""
        paper_count = self._paper.do_work()
        if not self._is_adopted:
            return paper_count
        count = paper_count + self._apply_executions(now_ns)
        if now_ns - self._valued_ns >= VALUE_EVERY_NS:
            self._valued_ns = now_ns
            for instrument_id, position in self._positions.items():
                if self._marks.read(instrument_id):
                    position.mark_e8 = self._mark.mark_e8
                    self._paper.value(instrument_id, self._mark.mark_e8)
            self._publish()
            self._paper.publish()
            self._check_trades(now_ns)
        return count

    def _apply_executions(self, now_ns: int) -> int:
        count = 0
        executions, record = self._executions, self._execution
        while count < EXECUTIONS_PER_CYCLE_MAX and executions.next():
            count += 1
            if record.mode == Mode.LIVE and record.seq > self._as_of.get(
                record.instrument_id, record.seq
            ):
                self._apply(record, now_ns)
        if count:
            # Cells before cursor: a successor skips by sequence what the cells include.
            self._include(executions.seq)
            self._publish()
            executions.commit()
        return count

    def _include(self, executions_seq: int) -> None:
        for instrument_id, as_of_seq in self._as_of.items():
            self._as_of[instrument_id] = max(as_of_seq, executions_seq)

    def _apply(self, record: Execution, now_ns: int) -> None:
        self._alerts.execution(record)
        if record.exec_kind == ExecKind.FILL:
            self._apply_fill(record, now_ns)
            if record.reason >= Reason.FOREIGN_ORDER:
                self._page.count(counters.FOREIGN_FILLS.id)

    def _apply_fill(self, record: Execution, now_ns: int) -> None:
        instrument_id = record.instrument_id
        position = self._positions[instrument_id]
        quote_id = self._quote_ids[instrument_id]
        is_quote_fee = record.fee_asset_id == quote_id
        fee_e8 = record.fee_e8 if is_quote_fee else 0
        realised_e8 = position.apply_fill(record.side, record.qty_e8, record.price_e8, fee_e8)
        wallets = self._wallets
        wallets.book_trade(quote_id, realised_e8 - fee_e8, record.seq)
        if not is_quote_fee and record.fee_asset_id in _ASSETS:
            wallets.book_trade(record.fee_asset_id, -record.fee_e8, record.seq)
        self._page.count(counters.FILLS_APPLIED.id)
        self._trades.on_own_trade(instrument_id, record.trade_id, record.side, now_ns)
        self._check.saw(("position", instrument_id), position.position_e8, now_ns)
        for wallet in wallets:
            self._check.saw(_wallet_key(wallet), wallet.wallet_e8, now_ns)

    def _check_trades(self, now_ns: int) -> None:
        for instrument_id, trade_id in self._trades.overdue_trades(now_ns):
            text = f"trade {trade_id} is in the drop copy but not in executions"
            self._alerts.send(AlertCode.TRADE_NOT_EXECUTED, Severity.INCIDENT, text, instrument_id)
            self._page.count(counters.DIFFERENCES.id)
        if self._trades.is_copy_silent(now_ns) and self._page.gauge(counters.SESSION_UP.id):
            self._reopen(now_ns)

    def _reopen(self, now_ns: int) -> None:
        """A socket that is open and says nothing of what happens: its key may be dead."""
        if now_ns - self._reopened_ns >= REOPEN_EVERY_NS:
            self._reopened_ns = now_ns
            text = "the drop copy is silent while executions come"
            self._alerts.send(AlertCode.DROP_COPY_SILENT, Severity.WARNING, text)
            self._users.reconnect(text)

    def _publish(self) -> None:
        """Write every cell; each says which executions it includes.

        Wallets first: what a fill realised follows from the position before it, so a successor
        that finds an old position and a new wallet can tell, and the other way round it could not.
        A repair that a death cuts in two is found again, and completed, by the next comparison.
        """
        executions_seq = max(self._as_of.values(), default=0)
        for index, wallet in enumerate(self._wallets):
            as_of_seq = max(executions_seq, wallet.as_of_seq)
            self._publish_wallet(index, wallet, as_of_seq)
        cell = self._position_cell
        for instrument_id, position in self._positions.items():
            cell.clear()
            position.fill(cell)
            cell.mode, cell.source = int(Mode.LIVE), self._context.source
            cell.executions_seq = self._as_of[instrument_id]
            venue_e8 = self._check.venue_value(("position", instrument_id))
            cell.venue_position_e8 = position.position_e8 if venue_e8 is None else venue_e8
            cell.differs = self._check.differs(("position", instrument_id))
            if self._compared is not None:
                cell.liquidation_e8 = self._compared.liquidation_e8(
                    instrument_id, position.position_e8
                )
            cell.reconciled_ns = self._agreed_ns
            self._position_cells.write(_cell(instrument_id))

    def _publish_wallet(self, index: int, wallet: Wallet, executions_seq: int) -> None:
        cell = self._balance_cell
        cell.clear()
        fill_balance(cell, wallet)
        cell.source, cell.executions_seq = self._context.source, executions_seq
        cell.differs = self._check.differs(_wallet_key(wallet))
        cell.reconciled_ns = self._agreed_ns
        self._balance_cells.write(index)

    # -- drop copy ------------------------------------------------------------------------------

    def _on_user_event(self, event: Any, recv_ns: int) -> None:
        self._page.count(counters.DROP_COPIES.id)
        self._trades.heard(recv_ns)
        if isinstance(event, OrderUpdate):
            instrument_id = self._symbols.get(event.symbol)
            is_trade = event.exec_type in (ExecType.TRADE, ExecType.CALCULATED)
            if is_trade and instrument_id is not None:
                self._trades.on_drop_copy(instrument_id, event.trade_id, event.side, recv_ns)
        elif isinstance(event, AccountUpdate):
            if event.cause != "ORDER":
                self._on_wallet_event(event, recv_ns)
        elif isinstance(event, MarginCall):
            text = f"margin call for {' '.join(event.symbols)}"
            self._alerts.send(AlertCode.MARGIN_CALL, Severity.INCIDENT, text)

    def _on_wallet_event(self, event: AccountUpdate, recv_ns: int) -> None:
        """Funding, transfers and the like: what the wallet does without a trade."""
        if self._is_adopted:
            self._note_moves(self._wallets.take_event(event), recv_ns)
        else:
            self._last_look = None  # which of the figures include it, nobody can tell

    def _note_moves(self, moves: Sequence[Move], now_ns: int) -> None:
        for move in moves:
            wallet = self._wallets.of(move.asset_id)
            self._check.saw(_wallet_key(wallet), wallet.wallet_e8, now_ns)
            if move.cause == "FUNDING_FEE":
                self._page.count(counters.FUNDINGS.id)
                instrument_id = self._symbols.get(move.symbol)
                if instrument_id is not None:
                    self._positions[instrument_id].apply_funding(move.amount_e8)
            else:
                text = f"{move.cause} {format_e8(move.amount_e8)} of asset {move.asset_id}"
                self._alerts.send(
                    AlertCode.WALLET_MOVED, Severity.INFORMATION, text, value_e8=move.amount_e8
                )

    # -- the venue's own figures ----------------------------------------------------------------

    async def _reconcile_for_ever(self) -> None:
        settle_s = self._config.settle_ms / 1e3
        retry_s = START_RETRY_S
        while not self._is_stopping:
            pause_s = retry_s
            with contextlib.suppress(HftError):
                look, incomes = await self._look(), await self._explaining_incomes()
                self._guard(self._take)(look, incomes, time.monotonic_ns())
                # Others wait for the first agreement. Later, a difference may still be on its
                # way: look again soon, and only then call it one.
                if self._page.state != RoleState.RECOVERING:
                    retry_s = START_RETRY_S
                    pause_s = settle_s if self._check.is_doubtful else self._config.reconcile_s
            if pause_s == retry_s:
                retry_s = min(2 * retry_s, settle_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._hurry.wait()
            self._hurry.clear()

    async def _look(self) -> Look:
        if not self._is_clock_measured:
            await self._rest.measure_clock_offset()
            self._is_clock_measured = True
        return await look_at_venue(self._rest, self._symbols, lambda: self._executions.newest_seq)

    async def _explaining_incomes(self) -> list[IncomeReport]:
        """The income history, while a wallet did not match at the last look. Weight 30."""
        if not any(self._check.is_suspect(_wallet_key(wallet)) for wallet in self._wallets):
            return []
        since_ns = time.monotonic_ns() - self._agreed_ns + INCOME_MARGIN_NS
        return await incomes_since(self._rest, self._rest.venue_ns - since_ns)

    def _take(self, look: Look, incomes: Sequence[IncomeReport], now_ns: int) -> None:
        if self._is_adopted:
            self._compare(look, incomes, now_ns)
        elif look.confirms(self._last_look) and look.executions_seq == self._executions.newest_seq:
            self._adopt(look, now_ns)
        else:
            self._last_look = look

    def _adopt(self, look: Look, now_ns: int) -> None:
        """The first life takes the venue's word for everything that was there before.

        Executions published until then are part of the venue's figures: they are summed, and
        what they do not explain is an adjustment. Others follow as always.
        """
        executions, record = self._executions, self._execution
        while executions.seq < look.executions_seq and executions.next():
            if record.mode == Mode.LIVE and record.instrument_id in self._positions:
                self._apply(record, now_ns)
        self._include(executions.seq)
        for instrument_id, position in self._positions.items():
            look.adjust(position)
            self._check.saw(("position", instrument_id), position.position_e8, now_ns)
        self._wallets.set_all({number: row.wallet_e8 for number, row in look.balances.items()})
        for wallet in self._wallets:
            self._check.saw(_wallet_key(wallet), wallet.wallet_e8, now_ns)
        self._is_adopted, self._last_look = True, None
        self._compare(look, (), now_ns)
        executions.commit()

    def _compare(self, look: Look, incomes: Sequence[IncomeReport], now_ns: int) -> None:
        """Hold the venue's figures against every value that ours had meanwhile."""
        check = self._check
        self._compared = look
        check.begin(look.started_ns)
        self._watch_execution(now_ns)
        for instrument_id, position in self._positions.items():
            venue_e8 = look.position_e8(instrument_id)
            check.compare(("position", instrument_id), position.position_e8, venue_e8, now_ns)
        for asset_id, balance in look.balances.items():
            wallet = self._wallets.of(asset_id)
            wallet.venue_e8, wallet.available_e8 = balance.wallet_e8, balance.available_e8
            wallet.margin_ratio_bps = look.margin_ratios_bps[asset_id]
            self._compare_wallet(wallet, incomes, now_ns)
        self._page.count(counters.RECONCILIATIONS.id)
        for difference in check.end(now_ns):
            is_position = difference.key[0] == "position"
            code = AlertCode.POSITION_DIFFERS if is_position else AlertCode.WALLET_DIFFERS
            self._alerts.difference(code, Severity.INCIDENT, difference)
            self._page.count(counters.DIFFERENCES.id)
        for difference in check.lasting():
            self._repair(difference, look, now_ns)
        self._note_agreement(now_ns, look.started_ns)
        self._publish()

    def _compare_wallet(self, wallet: Wallet, incomes: Sequence[IncomeReport], now_ns: int) -> None:
        key, check = _wallet_key(wallet), self._check
        values_e8 = check.values(key, wallet.wallet_e8)
        if incomes and wallet.venue_e8 not in values_e8:
            symbols = frozenset(self._symbols)
            self._note_moves(self._wallets.explain(wallet, values_e8, incomes, symbols), now_ns)
        if check.compare(
            key, wallet.wallet_e8, wallet.venue_e8, now_ns, rounding_e8=wallet.rounding_e8
        ):
            wallet.rounding_e8 = 0

    def _watch_execution(self, now_ns: int) -> None:
        """Only while execution could have explained a difference, it counts as a lasting one."""
        page = self._execution_page
        is_sound = (
            page.state == RoleState.READY
            and now_ns - page.beat_ns < EXECUTION_AGE_NS_MAX
            and page.gauge(counters.SESSION_UP.id)
            and page.epoch == self._execution_epoch
            and not self._executions.backlog
        )
        self._execution_epoch = page.epoch
        if not is_sound:
            self._check.start_over()

    def _repair(self, difference: Difference, look: Look, now_ns: int) -> None:
        """Take the venue's figure over: nothing that is on its way explains the difference."""
        what, number = difference.key
        code, severity = AlertCode.POSITION_ADJUSTED, Severity.INCIDENT
        if what == "position":
            look.adjust(self._positions[number])
        else:
            wallet, code = self._wallets.of(number), AlertCode.WALLET_ADJUSTED
            wallet.wallet_e8, wallet.rounding_e8 = difference.venue_e8, 0
            if not self._check.differs(difference.key):
                severity = Severity.INFORMATION  # a last digit that the venue rounded otherwise
        if severity is Severity.INCIDENT:
            self._page.count(counters.ADJUSTMENTS.id)
        self._check.repaired(difference.key, difference.venue_e8, now_ns)
        self._alerts.difference(code, severity, difference)

    def _note_agreement(self, now_ns: int, started_ns: int) -> None:
        check, page = self._check, self._page
        if page.gauge(counters.DIFFERS.id) and not check.difference_count:
            self._alerts.send(
                AlertCode.AGREES_AGAIN, Severity.INFORMATION, "all figures equal the venue's again"
            )
        page.set_gauge(counters.DIFFERS.id, check.difference_count)
        page.set_gauge(counters.AGREES.id, int(check.agrees))
        if check.agrees:
            page.set_gauge(counters.RECONCILED_NS.id, now_ns)
        is_known = check.agrees or check.difference_count
        if is_known and page.state == RoleState.RECOVERING:
            page.state = int(RoleState.READY)
        if not check.is_doubtful:
            self._agreed_ns = started_ns

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


def _wallet_key(wallet: Wallet) -> Key:
    return "wallet", wallet.asset_id
