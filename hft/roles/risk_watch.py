"""What risk looks at between intents: how far each limit is used, and which breaker trips.

Nothing here is asked by a single intent; what follows from it stands in the ``RiskBook``, which
refuses by it. Twenty times a second the uses are measured, in parts so that no tick waits for all
of it, and now and then they are published in the ``limits`` cells. Acts go to the ``acts`` ring:
the recorder writes them to the audit trail.
"""

from __future__ import annotations

from typing import Final

from hft import counters, graph
from hft.core.breakers import (
    BPS,
    CountRatio,
    EventRate,
    Layer,
    Losses,
    Peak,
    Rise,
    TradeCosts,
    Volatility,
    layer_of,
)
from hft.core.catalogue import CATALOGUE, LIMITS_BY_NAME, UNLIMITED, Limits, LimitSpec
from hft.core.generated.views import Alert, Balance, Execution, Position, TopOfBook
from hft.core.order_id import SOURCE_MAX
from hft.core.risk import RiskBook
from hft.counters import RoleState
from hft.records import AlertCode, ExecKind, Kind, Mode, Reason
from hft.roles.alerts import Alerts, Severity
from hft.roles.context import Context
from hft.units import E8, NS_PER_S

SOURCE_SHIFT: Final = 56
PUBLISH_EVERY_NS: Final = NS_PER_S // 2
VOLATILITY_HALT_NS: Final = 60 * NS_PER_S
INSTRUMENTS_PER_LOOK: Final = 16
"""So many markets are looked at in one turn, to keep it short."""
REJECTS_EMERGENCY: Final = 10
AGE_EMERGENCY: Final = 6
UNRESOLVED_EMERGENCY: Final = 3
MARGIN_EMERGENCY: Final = 2
COUNTDOWN_EMERGENCY: Final = 2
"""So many times the limit stops everything; of a distance, its part."""
OVERSIZED_EMERGENCY: Final = 3
DOUBLED_EMERGENCY: Final = 5
"""So many orders refused as too large within a minute, or as doubled within ten seconds, stop
everything where the policy knows emergencies: a program is out of control."""
LOSS_SLOT: Final = 3
PAUSED_SLOT: Final = 4
"""Places in the role page that keep, for a successor, what losses are measured from and which
strategies are paused."""
BIAS: Final = 1 << 62
"""Makes any profit a positive word."""
WORD: Final = (1 << 64) - 1
NORMAL_REJECTS: Final = frozenset({Reason.VENUE_POST_ONLY})
"""A maker's order that would have taken: part of its trade."""


_OF_INSTRUMENTS: Final = (
    "position_notional_max", "open_notional_max", "open_orders_max", "spread_bps_max",
    "drift_1m_bps_max", "funding_bps_max",
)  # fmt: skip
"""As ``RiskBook.greatest_uses`` has them."""
_OF_STRATEGIES: Final = (
    "executions_per_minute_max", "rejects_per_10s_max", "cancels_per_place_max",
    "places_per_trade_max", "slippage_1m_bps_max", "fee_1m_bps_max", "faults_per_minute_max",
)  # fmt: skip

_STOPPING_GROWTH: Final = (
    "loss_session_max", "loss_1m_max", "margin_used_bps_max", "margin_ratio_bps_max",
    "liquidation_bps_min", "countdown_missed_max", "user_stream_down_ms_max", "clock_offset_ms_max",
    "loop_lag_ms_max", "round_trip_ms_max",
)  # fmt: skip
"""Beyond one of these no position of the account may grow."""


def _emergency_bound(spec: LimitSpec, limit: int, limits: Limits) -> int | None:
    """The use beyond which everything stops; None: there is none."""
    if spec.name == "drawdown_max":
        return limit
    if spec.name == "unresolved_age_ms_max":
        return limit * AGE_EMERGENCY
    if not limits.emergency_percent:
        return None
    if spec.name == "unresolved_max":
        return limit * UNRESOLVED_EMERGENCY
    if spec.name == "margin_ratio_bps_max":
        return limit * MARGIN_EMERGENCY
    if spec.name == "liquidation_bps_min":
        return limit // MARGIN_EMERGENCY
    if spec.name == "countdown_missed_max":
        return limit * COUNTDOWN_EMERGENCY
    if spec.is_emergency:
        return limit * limits.emergency_percent // 100
    return None


def _is_beyond(name: str, use: int, bound: int) -> bool:
    return use < bound if LIMITS_BY_NAME[name].is_floor else use > bound


class _StrategyUse:
    def __init__(self) -> None:
        self.executions = EventRate(60 * NS_PER_S)
        self.rejects = EventRate(10 * NS_PER_S)
        self.cancels = CountRatio()
        self.places = CountRatio()
        self.costs = TradeCosts()
        self.faults = Rise(60 * NS_PER_S)
        self.fills = 0


class RiskWatch:
    """The uses of all limits, and the breakers. Belongs to the risk role."""

    def __init__(self, context: Context, book: RiskBook) -> None:
        self._context = context
        self._page = context.page
        self._halt = context.halt
        self._book = book
        self._acts = Alerts(context, "acts")
        self._cells, buffer = context.cell_writer("limits")
        self._cell = Alert(buffer)
        self._tops, top_buffer = context.cell_reader("tops")
        self._top = TopOfBook(top_buffer)
        self._balances, balance_buffer = context.cell_reader("balances")
        self._balance = Balance(balance_buffer)
        self._margin_cell = graph.balance_cell(Mode.LIVE, 0)
        self._execution_page = context.page_of("execution")
        self._ids = [i.instrument_id for i in context.plan.instruments]
        self._next = 0
        self._strategies: dict[int, _StrategyUse] = {}
        self._all_rejects = EventRate(10 * NS_PER_S)
        self._oversized, self._doubled = Rise(60 * NS_PER_S), Rise(10 * NS_PER_S)
        self._volatilities = {number: Volatility() for number in self._ids}
        self._moves: dict[int, tuple[int, int]] = {}
        self._losses = Losses()
        self._lag = Peak()
        self._round_trip = Peak(10 * NS_PER_S)
        self._round_trip_ns = 0
        self.waited_ns = 0
        """The longest that an intent waited until it was judged, between this look and the last."""
        self._quotes: dict[int, int] = {}
        self._distances: list[tuple[int, int]] = []
        self._down_ns = 0
        self.is_closing = False
        """While positions are closed after a halt, the cause of which may last, only what the
        venue does by itself and a person stop it."""
        self._uses: dict[str, tuple[int, int]] = {}
        self._soft = self._hard = 0
        self._limits: Limits | None = None
        self._values: dict[str, int] = {}
        self._standing: tuple[LimitSpec, ...] = ()
        self._emergencies: tuple[tuple[str, int], ...] = ()
        self._published_ns = 0
        self.profit_e8: int | None = None
        """Of the account, as known last; None: not yet."""
        self.parts: Final = (
            self._look_at_exposure,
            self._look_at_strategies,
            self._look_at_money,
            self._act,
            self._show,
        )
        """A look in steps, to be taken in this sequence with a time each."""
        self._inherit()

    def _inherit(self) -> None:
        noted = self._page.pending(LOSS_SLOT)
        if noted is not None:
            self._losses.begin(noted[0] - BIAS, noted[1] - BIAS)
        noted = self._page.pending(PAUSED_SLOT)
        if noted is not None:
            paused = noted[0] | noted[1] << 64
            for strategy_id in range(1, SOURCE_MAX + 1):
                if paused >> strategy_id & 1:
                    self._book.pause_strategy(strategy_id, True)
        self._tell_paused()

    # -- news -----------------------------------------------------------------------------------

    def on_execution(self, record: Execution, now_ns: int) -> None:
        """A fill or a rejection may be one too many."""
        kind = record.exec_kind
        strategy_id = record.order_id >> SOURCE_SHIFT
        if not 0 < strategy_id <= SOURCE_MAX:
            return
        limits = self._book.limits
        if kind == ExecKind.FILL:
            use = self._use_of(strategy_id)
            use.fills += 1
            self._add_cost(use, record, now_ns)
            count = use.executions.add(now_ns)
            self._pause_beyond("executions_per_minute_max", count, limits, strategy_id)
        elif kind == ExecKind.REJECTED and record.reason not in NORMAL_REJECTS:
            count = self._use_of(strategy_id).rejects.add(now_ns)
            self._pause_beyond("rejects_per_10s_max", count, limits, strategy_id)
            total = self._all_rejects.add(now_ns)
            if total > REJECTS_EMERGENCY * limits.rejects_per_10s_max:
                self._stop(
                    "rejects_per_10s_max", total, REJECTS_EMERGENCY * limits.rejects_per_10s_max
                )

    def _add_cost(self, use: _StrategyUse, record: Execution, now_ns: int) -> None:
        number, mid_e8, top = record.instrument_id, 0, self._top
        if self._tops.read(number) and top.bid_e8 > 0 and top.ask_e8 > 0:
            mid_e8 = (top.bid_e8 + top.ask_e8) // 2
        is_comparable = record.fee_asset_id == self._quotes.get(number)
        use.costs.add(side=record.side, price_e8=record.price_e8, qty_e8=record.qty_e8,
                      mid_e8=mid_e8, fee_e8=record.fee_e8 if is_comparable else 0,
                      now_ns=now_ns)  # fmt: skip

    def on_instrument(self, instrument_id: int, quote_asset_id: int) -> None:
        """Fees in another asset than the instrument's own are not compared, nor is its margin."""
        self._quotes[instrument_id] = quote_asset_id

    def on_liquidation(self, position: Position) -> None:
        """A position that the venue would liquidate somewhere: how far that is from the mark."""
        mark_e8 = position.mark_e8
        if mark_e8 > 0:
            away_e8 = mark_e8 - position.liquidation_e8
            distance_bps = (away_e8 if position.position_e8 > 0 else -away_e8) * BPS // mark_e8
            self._distances.append((max(0, distance_bps), position.instrument_id))

    def on_armed(self) -> None:
        """A person has looked: losses are measured from now on, and nothing is counted twice."""
        self._losses = Losses()
        self._page.begin(LOSS_SLOT, 0, 0)
        self._all_rejects.clear()
        self._oversized, self._doubled = Rise(60 * NS_PER_S), Rise(10 * NS_PER_S)

    def resume(self, strategy_id: int, who: str) -> None:
        """A person lets a paused strategy go on."""
        self._strategies.pop(strategy_id, None)
        self._book.pause_strategy(strategy_id, False)
        self._tell_paused()
        text = f"strategy {strategy_id} goes on: {who}"
        self._acts.send(AlertCode.STRATEGY_RESUMED, Severity.INFORMATION, text)

    def tell(self, code: AlertCode, severity: Severity, text: str, value: int = 0) -> None:
        """Publish an act of the role."""
        self._acts.send(code, severity, text, value_e8=value)

    # -- once in a while ------------------------------------------------------------------------

    def _look_at_exposure(self, now_ns: int) -> None:
        limits = self._book.limits
        if limits is not self._limits:
            self._take_values(limits)
        self._look_at_markets(now_ns, limits)
        self._measure_book(self._uses, now_ns)

    def _look_at_strategies(self, now_ns: int) -> None:
        self._measure_strategies(self._uses, self._book.limits, now_ns)

    def _look_at_money(self, now_ns: int) -> None:
        uses = self._uses
        if self.profit_e8 is not None:
            self._measure_losses(uses, self.profit_e8, now_ns)
        self._measure_margin(uses)
        self._measure_liquidation(uses)
        self._measure_host(uses, now_ns)

    def _act(self, now_ns: int) -> None:
        uses = self._uses
        self._judge_layers(uses)
        self._refuse_growth(uses)
        self._look_for_emergencies(uses)

    def _show(self, now_ns: int) -> None:
        if now_ns - self._published_ns >= PUBLISH_EVERY_NS:
            self._published_ns = now_ns
            self._publish(self._uses)

    def _look_at_markets(self, now_ns: int, limits: Limits) -> None:
        if limits.move_1s_bps_max >= UNLIMITED and limits.move_1m_bps_max >= UNLIMITED:
            return
        top = self._top
        for _ in range(min(INSTRUMENTS_PER_LOOK, len(self._ids))):
            number = self._ids[self._next]
            self._next = (self._next + 1) % len(self._ids)
            if not self._tops.read(number) or top.bid_e8 <= 0 or top.ask_e8 <= 0:
                continue
            middle_e8 = (top.bid_e8 + top.ask_e8) // 2
            moves = self._volatilities[number].update(middle_e8, now_ns)
            self._moves[number] = moves
            if moves[0] > limits.move_1s_bps_max or moves[1] > limits.move_1m_bps_max:
                self._book.halt_instrument(number, now_ns + VOLATILITY_HALT_NS)

    def _measure_book(self, uses: dict[str, tuple[int, int]], now_ns: int) -> None:
        book = self._book
        for name, (number, use) in zip(_OF_INSTRUMENTS, book.greatest_uses(now_ns), strict=True):
            uses[name] = use, number
        gross_e8 = book.gross_notional_e8()
        uses["gross_notional_max"] = gross_e8, 0
        uses["net_notional_max"] = book.net_notional_e8(), 0
        uses["leverage_max"] = (gross_e8 * E8 // book.equity_e8 if book.equity_e8 else 0), 0
        uses["unresolved_max"] = book.unresolved, 0
        since_ns = book.unresolved_since_ns = book.oldest_unresolved_ns()
        uses["unresolved_age_ms_max"] = (now_ns - since_ns if since_ns else 0), 0
        in_1s, in_10s, in_1m = book.message_uses(now_ns)
        uses["messages_per_s_max"], uses["messages_per_10s_max"] = (in_1s, 0), (in_10s, 0)
        uses["messages_per_minute_max"] = in_1m, 0
        if book.account_ns:
            uses["account_age_ms_max"] = max(0, now_ns - book.account_ns), 0
        for index, name in enumerate(("move_1s_bps_max", "move_1m_bps_max")):
            uses[name] = max(((m[index], n) for n, m in self._moves.items()), default=(0, 0))

    def _measure_strategies(
        self, uses: dict[str, tuple[int, int]], limits: Limits, now_ns: int
    ) -> None:
        greatest = dict.fromkeys(_OF_STRATEGIES, (0, 0))
        for strategy_id in range(1, len(self._context.config.strategies) + 1):
            use = self._use_of(strategy_id)
            places, cancels = self._book.messages_of(strategy_id)
            slippage_bps, fee_bps = use.costs.bps(now_ns)
            found = (
                use.executions.count(now_ns),
                use.rejects.count(now_ns),
                use.cancels.update(cancels, places, now_ns),
                use.places.update(places, use.fills, now_ns),
                slippage_bps,
                fee_bps,
                use.faults.update(self._book.faults_of(strategy_id), now_ns),
            )
            for name, value in zip(_OF_STRATEGIES, found, strict=True):
                if value > greatest[name][0]:
                    greatest[name] = value, strategy_id
                if value > self._values[name]:
                    self._pause_beyond(name, value, limits, strategy_id)
        uses.update(greatest)
        self._look_for_mistakes(limits, now_ns)

    def _look_for_mistakes(self, limits: Limits, now_ns: int) -> None:
        oversized = self._oversized.update(self._book.oversized, now_ns)
        doubled = self._doubled.update(self._book.doubled, now_ns)
        if not limits.emergency_percent:
            return
        if oversized >= OVERSIZED_EMERGENCY:
            self._stop_for(f"{oversized} orders too large within a minute", oversized,
                           OVERSIZED_EMERGENCY)  # fmt: skip
        elif doubled >= DOUBLED_EMERGENCY:
            self._stop_for(f"{doubled} orders doubled within 10 s", doubled, DOUBLED_EMERGENCY)

    def _measure_losses(
        self, uses: dict[str, tuple[int, int]], profit_e8: int, now_ns: int
    ) -> None:
        losses = self._losses
        before = losses.start_e8, losses.peak_e8
        minute_e8, session_e8, peak_e8 = losses.update(profit_e8, now_ns)
        uses["loss_1m_max"], uses["loss_session_max"] = (minute_e8, 0), (session_e8, 0)
        uses["drawdown_max"] = peak_e8, 0
        if before != (losses.start_e8, losses.peak_e8) and losses.start_e8 is not None:
            self._page.begin(LOSS_SLOT, losses.start_e8 + BIAS, losses.peak_e8 + BIAS)

    def _measure_margin(self, uses: dict[str, tuple[int, int]]) -> None:
        """By the venue's own figures: what it leaves available, of the wallet that profit is in."""
        balances, balance, quotes = self._balances, self._balance, self._quotes.values()
        if not (balances.read(self._margin_cell) and balance.asset_id in quotes):
            for row in range(graph.ASSETS_MAX):
                self._margin_cell = graph.balance_cell(Mode.LIVE, row)
                if balances.read(self._margin_cell) and balance.asset_id in quotes:
                    break
            else:
                return
        if balance.reconciled_ns and balance.venue_wallet_e8 > 0:
            kept_e8 = max(0, balance.venue_wallet_e8 - balance.available_e8)
            uses["margin_used_bps_max"] = kept_e8 * BPS // balance.venue_wallet_e8, 0
        if balance.reconciled_ns:
            uses["margin_ratio_bps_max"] = balance.margin_ratio_bps, 0

    def _measure_liquidation(self, uses: dict[str, tuple[int, int]]) -> None:
        """The nearest of those told since the last look; none, and there is nothing to lose."""
        if self._distances:
            uses["liquidation_bps_min"] = min(self._distances)
            self._distances.clear()
        else:
            uses.pop("liquidation_bps_min", None)

    def _measure_host(self, uses: dict[str, tuple[int, int]], now_ns: int) -> None:
        page = self._execution_page
        is_ready = page.state == RoleState.READY
        offset_ns = abs(page.gauge(counters.CLOCK_OFFSET_NS.id)) if is_ready else 0
        uses["clock_offset_ms_max"] = offset_ns, 0
        missed = page.gauge(counters.COUNTDOWN_MISSED.id) if is_ready else 0
        uses["countdown_missed_max"] = missed, 0
        if not is_ready or page.gauge(counters.SESSION_UP.id):
            self._down_ns = now_ns
        uses["user_stream_down_ms_max"] = now_ns - (self._down_ns or now_ns), 0
        uses["loop_lag_ms_max"] = self._lag.update(self.waited_ns, now_ns), 0
        # The gauge keeps the last one, however long ago that was: only a new one counts.
        round_trip_ns = page.gauge(counters.ROUND_TRIP_NS.id)
        fresh_ns = round_trip_ns if round_trip_ns != self._round_trip_ns else 0
        self._round_trip_ns = round_trip_ns
        uses["round_trip_ms_max"] = self._round_trip.update(fresh_ns, now_ns), 0

    # -- what follows ---------------------------------------------------------------------------

    def _take_values(self, limits: Limits) -> None:
        """The limits in force, as they are looked at again and again."""
        self._limits = limits
        self._values = {spec.name: spec.of(limits) for spec in CATALOGUE}
        finite = [spec for spec in CATALOGUE if self._values[spec.name] < UNLIMITED]
        self._standing = tuple(spec for spec in finite if spec.soft_percent)
        self._emergencies = tuple(
            (spec.name, bound)
            for spec in finite
            if (bound := _emergency_bound(spec, self._values[spec.name], limits)) is not None
        )

    def _judge_layers(self, uses: dict[str, tuple[int, int]]) -> None:
        soft = hard = 0
        values = self._values
        for spec in self._standing:
            name = spec.name
            if name in uses and (uses[name][0] or spec.is_floor):
                layer = layer_of(spec, uses[name][0], values[name])
                soft |= (layer >= Layer.SOFT) << spec.number
                hard |= (layer is Layer.HARD) << spec.number
        fresh = soft & ~self._soft
        if fresh:
            self._page.count(counters.NEAR_LIMITS.id, fresh.bit_count())
        if (soft, hard) != (self._soft, self._hard):
            self._soft, self._hard = soft, hard
            self._page.set_gauge(counters.SOFT_LIMITS.id, soft)
            self._page.set_gauge(counters.HARD_LIMITS.id, hard)

    def _refuse_growth(self, uses: dict[str, tuple[int, int]]) -> None:
        reason = Reason.NONE
        for name in _STOPPING_GROWTH:
            if name in uses and _is_beyond(name, uses[name][0], self._values[name]):
                reason = LIMITS_BY_NAME[name].reason
                break
        if reason is not self._book.growth_reason:
            self._book.refuse_growth(reason)
            if reason is not Reason.NONE:
                text = f"{name}: positions may only shrink"
                self._acts.send(AlertCode.BREAKER_TRIPPED, Severity.WARNING, text,
                                value_e8=uses[name][0], limit_e8=self._values[name])  # fmt: skip

    def _look_for_emergencies(self, uses: dict[str, tuple[int, int]]) -> None:
        for name, bound in self._emergencies:
            if name in uses and _is_beyond(name, uses[name][0], bound):
                self._stop(name, uses[name][0], bound)

    def _stop(self, name: str, use: int, bound: int) -> None:
        """Emergency: latch the halt. Execution cancels everything by its own authority."""
        spec = LIMITS_BY_NAME[name]
        where = "below" if spec.is_floor else "beyond"
        self._stop_for(f"{name}: {spec.shown(use)} is {where} {spec.shown(bound)}", use, bound)

    def _stop_for(self, cause: str, use: int, bound: int) -> None:
        if self._halt.is_set or self.is_closing:
            return
        self._halt.set(cause, "risk")
        self._page.count(counters.TRIPS.id)
        text = f"everything stops: {cause}"
        self._acts.send(AlertCode.BREAKER_TRIPPED, Severity.INCIDENT, text,
                        value_e8=use, limit_e8=bound)  # fmt: skip

    def _pause_beyond(self, name: str, use: int, limits: Limits, strategy_id: int) -> None:
        limit = LIMITS_BY_NAME[name].of(limits)
        if use <= limit or self._book.is_paused(strategy_id):
            return
        self._book.pause_strategy(strategy_id, True)
        self._tell_paused()
        self._page.count(counters.TRIPS.id)
        text = f"strategy {strategy_id} is paused: {name}"
        self._acts.send(AlertCode.STRATEGY_PAUSED, Severity.INCIDENT, text,
                        value_e8=use * E8, limit_e8=limit * E8)  # fmt: skip

    def _tell_paused(self) -> None:
        paused = [n for n in range(1, SOURCE_MAX + 1) if self._book.is_paused(n)]
        bits = sum(1 << number for number in paused) | 1  # 0 would say: nothing is noted
        self._page.begin(PAUSED_SLOT, bits & WORD, bits >> 64)
        self._page.set_gauge(counters.PAUSED_STRATEGIES.id, len(paused))

    # -- showing --------------------------------------------------------------------------------

    def _publish(self, uses: dict[str, tuple[int, int]]) -> None:
        cell = self._cell
        for spec in CATALOGUE:
            use, where = uses.get(spec.name, (-1, 0))
            limit = self._values[spec.name]
            cell.kind, cell.mode, cell.source = (
                int(Kind.ALERT),
                int(Mode.LIVE),
                self._context.source,
            )
            cell.code, cell.instrument_id = spec.number, where
            cell.value_e8, cell.limit_e8 = min(use, UNLIMITED), limit
            cell.severity = int(layer_of(spec, use, limit))
            self._cells.write(spec.number)

    def _use_of(self, strategy_id: int) -> _StrategyUse:
        use = self._strategies.get(strategy_id)
        if use is None:
            use = self._strategies[strategy_id] = _StrategyUse()
        return use
