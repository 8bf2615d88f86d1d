"""What a person should know: the account's alerts, as records of the ``alerts`` ring."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from hft.core.generated.views import Alert, Execution
from hft.records import AlertCode, ExecKind, Kind, Mode, Reason
from hft.roles.context import Context
from hft.roles.reconciliation import Difference
from hft.units import format_e8

TEXT_BYTES: Final = 56


class Severity(IntEnum):
    """How bad it is."""

    INFORMATION = 1
    WARNING = 2
    INCIDENT = 3


FOREIGN: Final = {
    (ExecKind.ADOPTED, Reason.FOREIGN_ORDER): (AlertCode.FOREIGN_ORDER, Severity.WARNING),
    (ExecKind.FILL, Reason.FOREIGN_ORDER): (AlertCode.FOREIGN_TRADE, Severity.INCIDENT),
    (ExecKind.FILL, Reason.LIQUIDATION): (AlertCode.LIQUIDATION, Severity.INCIDENT),
    (ExecKind.FILL, Reason.AUTO_DELEVERAGING): (AlertCode.AUTO_DELEVERAGING, Severity.INCIDENT),
    (ExecKind.FILL, Reason.SETTLEMENT): (AlertCode.SETTLEMENT, Severity.INCIDENT),
}
"""What somebody else does on the account, and how bad that is."""


class Alerts:
    """Writer of a ring of alerts. Nobody is waited for: who reads too slowly misses some."""

    def __init__(self, context: Context, ring: str = "alerts") -> None:
        self._source = context.source
        self._ring, buffer = context.ring_writer(ring)
        self._record = Alert(buffer)

    def send(
        self,
        code: AlertCode,
        severity: Severity,
        text: str,
        instrument_id: int = 0,
        *,
        value_e8: int = 0,
        limit_e8: int = 0,
    ) -> None:
        """Publish one; the text is cut to what a record holds."""
        record = self._record
        record.clear()
        record.kind, record.mode = int(Kind.ALERT), int(Mode.LIVE)
        record.source, record.instrument_id = self._source, instrument_id
        record.code, record.severity = int(code), int(severity)
        record.value_e8, record.limit_e8 = value_e8, limit_e8
        record.text = text.encode()[:TEXT_BYTES]
        self._ring.offer()

    def difference(self, code: AlertCode, severity: Severity, difference: Difference) -> None:
        """Ours and the venue's figure of one value."""
        (what, number), ours_e8, venue_e8 = difference
        text = f"{what} {number}: {format_e8(ours_e8)}, venue {format_e8(venue_e8)}"
        instrument_id = number if what == "position" else 0
        self.send(code, severity, text, instrument_id, value_e8=ours_e8, limit_e8=venue_e8)

    def execution(self, record: Execution) -> None:
        """Whatever in an execution was not asked for by us; most have nothing of the kind."""
        if record.reason == Reason.OWN_OVERFILL:
            text = f"order {record.order_id:#x}: {format_e8(record.cum_qty_e8)} executed"
            self.send(AlertCode.OVERFILLED, Severity.INCIDENT, text, record.instrument_id)
        elif record.reason >= Reason.FOREIGN_ORDER:
            alert = FOREIGN.get((ExecKind(record.exec_kind), Reason(record.reason)))
            if alert is not None:
                text = f"{'buys' if record.side > 0 else 'sells'} {format_e8(record.qty_e8)}"
                text += f" at {format_e8(record.price_e8)}, order {record.venue_order_id}"
                self.send(*alert, text, record.instrument_id, value_e8=record.qty_e8)
