"""Why something was refused, dropped, cancelled or told: the codes that records carry.

Fixed numbers that are never reused; 0 is always "unknown" or "none". ``hft.records`` hands them on.
"""

from __future__ import annotations

from enum import IntEnum


class AlertCode(IntEnum):
    """What an alert is about."""

    UNKNOWN = 0
    POSITION_DIFFERS = 1
    WALLET_DIFFERS = 2
    TRADE_NOT_EXECUTED = 3
    """The drop copy has a trade that execution did not report."""
    MARGIN_CALL = 4
    WALLET_MOVED = 5
    """Deposit, withdrawal, transfer: the wallet changed without a trade."""
    AGREES_AGAIN = 6
    FOREIGN_ORDER = 7
    FOREIGN_TRADE = 8
    """Somebody else orders or trades on the account."""
    LIQUIDATION = 9
    AUTO_DELEVERAGING = 10
    SETTLEMENT = 11
    POSITION_ADJUSTED = 12
    WALLET_ADJUSTED = 13
    """A lasting difference was repaired: the venue's figure holds."""
    OVERFILLED = 14
    """The venue executed more than an order asked for."""
    DROP_COPY_SILENT = 15
    """Executions flow and the independent user stream shows none of them."""
    PAPER_LAPPED = 16
    """Paper executions were lost: the paper positions are incomplete from here on."""
    TRADING_STATE = 40
    """Risk: what may be sent from now on, and why."""
    LIMITS_CHANGED = 41
    LIMITS_REFUSED = 42
    """A change of the limits at run time, and one that was not taken."""
    BREAKER_TRIPPED = 43
    STRATEGY_PAUSED = 44
    STRATEGY_RESUMED = 45


class Reason(IntEnum):
    """Why something was refused, dropped, cancelled or rejected. One table for all roles."""

    NONE = 0
    # Risk: refusals of an intent.
    TRADING_HALTED = 1
    REDUCING_ONLY = 2
    INSTRUMENT_UNKNOWN = 3
    INSTRUMENT_NOT_ALLOWED = 4
    INSTRUMENT_NOT_TRADING = 5
    MALFORMED = 6
    PRICE_OFF_TICK = 7
    QTY_OFF_STEP = 8
    QTY_RANGE = 9
    NOTIONAL_MIN = 10
    ORDER_QTY_MAX = 11
    ORDER_NOTIONAL_MAX = 12
    PRICE_COLLAR = 13
    MARK_COLLAR = 14
    POSITION_MAX = 15
    GROSS_NOTIONAL_MAX = 16
    OPEN_ORDERS_MAX = 17
    MESSAGE_RATE = 18
    STALE_DATA = 19
    DUPLICATE = 20
    UNKNOWN_ORDER = 21
    INTENT_EXPIRED = 22
    UNRESOLVED_MAX = 23
    ORDER_ID_REUSED = 24
    ACCOUNT_STALE = 25
    ORDER_KIND_NOT_ALLOWED = 26
    MANUAL_NOT_ALLOWED = 27
    """Orders by hand are switched off: [risk.manual] enabled."""
    NET_NOTIONAL_MAX = 28
    LEVERAGE_MAX = 29
    OPEN_NOTIONAL_MAX = 30
    UNRESOLVED_AGE = 31
    """An order has been unknown for too long."""
    STRATEGY_PAUSED = 32
    """A breaker has stopped the strategy until a person lets it go on."""
    SPREAD_HALT = 33
    VOLATILITY_HALT = 34
    LOSS_MAX = 35
    CLOCK_OFFSET_MAX = 36
    LOOP_LAG_MAX = 37
    ROUND_TRIP_MAX = 38
    AGGRESSIVE_CROSS = 39
    """The limit price lies too far beyond the other side's best."""
    # Execution: an approved decision that was not sent.
    PERMIT_EXPIRED = 40
    DECISION_EXPIRED = 41
    HALT_LATCHED = 42
    EPOCH_FENCED = 43
    VENUE_LIMIT = 44
    VENUE_BANNED = 45
    SESSION_DOWN = 46
    NOT_LIVE = 47
    TABLE_FULL = 48
    ORDER_CLOSED = 49
    REQUEST_PENDING = 50
    """The order has an unanswered request: another one would race it."""
    JOURNAL_FULL = 51
    """The recorder is so far behind that the journal would overwrite what is not on disk."""
    # Execution: cancels on its own authority.
    OWN_PERMIT_GONE = 60
    OWN_STRATEGY_SILENT = 61
    OWN_FEED_STALE = 62
    OWN_HALT = 63
    OWN_SHUTDOWN = 64
    OWN_RECOVERY = 65
    OWN_DECIDED_ALL = 66
    """A decision asked for the cancellation of everything."""
    OWN_OVERFILL = 67
    # Risk: more refusals of an intent.
    PRICE_DRIFT = 70
    """Our own prices of this instrument have moved too far within a minute."""
    FUNDING_MAX = 71
    MARGIN_USED_MAX = 72
    MARGIN_RATIO_MAX = 73
    """The venue's maintenance margin has come too near to what the account holds."""
    LIQUIDATION_NEAR = 74
    """The mark has come too near to the price at which a position is liquidated."""
    COUNTDOWN_MISSED = 75
    """The venue's countdown, which cancels when we are gone, could not be renewed."""
    USER_STREAM_DOWN = 76
    """Nobody tells us of fills: a stream of the account's events has been down for too long."""
    # The venue's refusals, by meaning.
    VENUE_REJECTED = 80
    VENUE_POST_ONLY = 81
    VENUE_MARGIN = 82
    VENUE_FILTER = 83
    VENUE_RATE_LIMIT = 84
    VENUE_UNKNOWN_ORDER = 85
    VENUE_OVERLOAD = 86
    VENUE_TIMESTAMP = 87
    VENUE_SELF_TRADE = 88
    VENUE_REDUCE_ONLY = 89
    # Orders and trades that are not ours, but move our position.
    FOREIGN_ORDER = 100
    LIQUIDATION = 101
    AUTO_DELEVERAGING = 102
    SETTLEMENT = 103
