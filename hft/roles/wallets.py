"""Wallets, one for each asset: what trades and other events made of them.

Trades reach a wallet by executions. Everything else that moves it (funding, liquidation fees,
transfers) comes once by the drop copy, and when that missed it, from the venue's income history:
a row of the history is booked only when it explains, to the last digit, what the venue's figure
and ours are apart. So nothing has to be remembered across a death, and nothing is booked twice.

Only assets of the fixed table have a number that all processes share; others have no wallet here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from hft import graph
from hft.core.assets import ASSET_IDS
from hft.core.generated.views import Balance
from hft.records import Kind, Mode
from hft.units import NS_PER_S
from hft.venues.binance_usdm.reports import IncomeReport
from hft.venues.binance_usdm.user_events import AccountUpdate

MATCH_NS: Final = 30 * NS_PER_S
"""An event and its row in the income history may carry times so far apart."""
MOVES_MAX: Final = 1_024
SUBSET_MAX: Final = 12
"""Of so many rows any selection may be what is missing; of more, only the newest ones."""
TRADE_KINDS: Final = frozenset({"COMMISSION", "REALIZED_PNL"})
"""Income that a trade brings: executions have it, unless the trade was in another symbol."""

assert len(ASSET_IDS) <= graph.ASSETS_MAX


class Move(NamedTuple):
    """Money that came or went without a trade of ours."""

    asset_id: int
    amount_e8: int
    venue_ns: int
    cause: str
    symbol: str


class Wallet:
    """Wallet of one asset: ours, and the venue's at the last look."""

    __slots__ = (
        "as_of_seq", "asset_id", "available_e8", "margin_ratio_bps", "rounding_e8", "venue_e8",
        "wallet_e8",
    )  # fmt: skip

    def __init__(self, asset_id: int, wallet_e8: int = 0, as_of_seq: int = 0) -> None:
        self.asset_id = asset_id
        self.as_of_seq = as_of_seq
        """Last executions record that a predecessor's cell included."""
        self.wallet_e8 = wallet_e8
        self.venue_e8 = wallet_e8
        self.available_e8 = self.margin_ratio_bps = 0
        self.rounding_e8 = 0
        """The venue's profit of a trade may end one digit beside ours: trades since it was equal.
        """


class Wallets:
    """All wallets, and the moves that were booked lately."""

    def __init__(self) -> None:
        self._wallets: dict[int, Wallet] = {}
        self._heard: deque[Move] = deque(maxlen=MOVES_MAX)
        self._from_history: deque[Move] = deque(maxlen=MOVES_MAX)
        self._events: dict[tuple[object, ...], None] = {}

    def __iter__(self) -> Iterator[Wallet]:
        return iter(self._wallets.values())

    def of(self, asset_id: int) -> Wallet:
        """The asset's wallet, an empty one when it was never met."""
        wallet = self._wallets.get(asset_id)
        if wallet is None:
            wallet = self._wallets[asset_id] = Wallet(asset_id)
        return wallet

    def find(self, asset_id: int) -> Wallet | None:
        """The asset's wallet, if there is one."""
        return self._wallets.get(asset_id)

    def set_all(self, values_e8: Mapping[int, int]) -> None:
        """Take the venue's word for every wallet; one that it does not name is empty."""
        for asset_id in {*self._wallets, *values_e8}:
            self.of(asset_id).wallet_e8 = values_e8.get(asset_id, 0)

    # -- bookings -------------------------------------------------------------------------------

    def book_trade(self, asset_id: int, change_e8: int, seq: int) -> None:
        """Profit or fee of a trade, unless a predecessor's cell shows that it was booked."""
        wallet = self.of(asset_id)
        if seq > wallet.as_of_seq:
            wallet.wallet_e8 += change_e8
            wallet.rounding_e8 += 1

    def take_event(self, event: AccountUpdate) -> list[Move]:
        """Book what an event of the drop copy moved; returns what is news."""
        fresh = []
        for change in event.balances:
            asset_id = ASSET_IDS.get(change.asset, 0)
            identity = (event.cause, event.transaction_ns, asset_id, change.change_e8,
                        change.wallet_e8)  # fmt: skip
            if not asset_id or not change.change_e8 or identity in self._events:
                continue
            self._events[identity] = None
            if len(self._events) > MOVES_MAX:
                del self._events[next(iter(self._events))]
            move = Move(asset_id, change.change_e8, event.transaction_ns, event.cause, event.symbol)
            if not _strike(self._from_history, move):
                self._book(move)
                fresh.append(move)
        return fresh

    def explain(
        self, wallet: Wallet, values_e8: set[int], incomes: Sequence[IncomeReport],
        symbols: frozenset[str],
    ) -> list[Move]:  # fmt: skip
        """Book what the history has and we have not, if that is exactly what is missing.

        Args:
            wallet: the one that differs; ``venue_e8`` is the venue's figure.
            values_e8: what ours may have been when that figure was true.
            incomes: the history since before ours and the venue's agreed last.
            symbols: those whose trades come by executions.
        """
        heard = list(self._heard)
        missing = []
        for row in sorted(incomes, key=lambda row: row.venue_ns):
            is_trade = row.kind in TRADE_KINDS and row.symbol in symbols
            if is_trade or ASSET_IDS.get(row.asset) != wallet.asset_id or not row.income_e8:
                continue
            move = Move(wallet.asset_id, row.income_e8, row.venue_ns, row.kind, row.symbol)
            if not _strike(heard, move):
                missing.append(move)
        found = _rows_that_sum_up(missing, {wallet.venue_e8 - value_e8 for value_e8 in values_e8})
        for move in found:
            self._book(move)
            self._from_history.append(move)
        return found

    def _book(self, move: Move) -> None:
        self.of(move.asset_id).wallet_e8 += move.amount_e8
        self._heard.append(move)

    # -- cells ----------------------------------------------------------------------------------

    def load(self, cell: Balance) -> None:
        """Take a wallet over from a predecessor's cell."""
        wallet = Wallet(cell.asset_id, cell.wallet_e8, cell.executions_seq)
        wallet.venue_e8, wallet.available_e8 = cell.venue_wallet_e8, cell.available_e8
        wallet.margin_ratio_bps = cell.margin_ratio_bps
        self._wallets[cell.asset_id] = wallet


def fill_balance(cell: Balance, wallet: Wallet) -> None:
    """Write a wallet into a record; the caller adds source, sequence and reconciliation."""
    cell.kind, cell.mode = int(Kind.BALANCE), int(Mode.LIVE)
    cell.asset_id, cell.wallet_e8 = wallet.asset_id, wallet.wallet_e8
    cell.venue_wallet_e8, cell.available_e8 = wallet.venue_e8, wallet.available_e8
    cell.margin_ratio_bps = wallet.margin_ratio_bps


def _strike(moves: list[Move] | deque[Move], wanted: Move) -> bool:
    """Take the move with that amount and about that time out of the list; False: none is there."""
    for index, move in enumerate(moves):
        is_same = (move.asset_id, move.amount_e8) == (wanted.asset_id, wanted.amount_e8)
        if is_same and abs(move.venue_ns - wanted.venue_ns) <= MATCH_NS:
            del moves[index]
            return True
    return False


def _rows_that_sum_up(moves: list[Move], wanted_e8: set[int]) -> list[Move]:
    """The moves, in order of time, whose sum is one of those wanted; none when there are none such.

    What a gap swallowed are the newest ones. A successor does not know which ones its predecessor
    had heard of, so any of the newest may be among those that are missing.
    """
    sum_e8 = 0
    for index in range(len(moves) - 1, -1, -1):
        sum_e8 += moves[index].amount_e8
        if sum_e8 in wanted_e8:
            return moves[index:]
    sums: dict[int, list[Move]] = {0: []}
    for move in reversed(moves[-SUBSET_MAX:]):
        for sum_e8, chosen in list(sums.items()):
            sums.setdefault(sum_e8 + move.amount_e8, [move, *chosen])
    return next((sums[sum_e8] for sum_e8 in wanted_e8 if sum_e8 in sums), [])
