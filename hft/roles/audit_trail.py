"""What risk and account did by themselves goes to the audit trail, from their rings.

Risk must not wait for a disk, so it only publishes its acts. A thread of the recorder writes them
down: a disk that hangs holds up nobody. Each entry notes the sequence of the act, so that a
successor goes on after the last one that was written.
"""

from __future__ import annotations

import threading
from typing import Final

from hft import graph
from hft.core.generated.views import Alert
from hft.errors import HftError
from hft.records import SLOT_BYTES, AlertCode, TradingState
from hft.roles import audit_file
from hft.roles.context import Context, ring_spec
from hft.units import format_e8
from ipc import RingReader, Segment, layout
from ipc.memory import load_u64

RINGS: Final = ("acts", "alerts")
FROM_ALERTS: Final = frozenset(
    {AlertCode.POSITION_ADJUSTED, AlertCode.WALLET_ADJUSTED, AlertCode.LIQUIDATION,
     AlertCode.AUTO_DELEVERAGING, AlertCode.SETTLEMENT}
)  # fmt: skip
"""What the account tells is an observation, but for these: they change our books."""
LOOK_S: Final = 0.1
RETRY_S: Final = 2.0


class AuditTrail:
    """The thread.

    ``error`` says why nothing is written at present (empty: all is well), ``written_seq`` how far
    the acts of risk are written down.
    """

    def __init__(self, context: Context) -> None:
        self._system = context.plan.name
        self._state_dir = context.state_dir
        self._halt = context.halt
        self._segments = [Segment.attach(self._system, ring_spec(ring)) for ring in RINGS]
        self._buffers = [bytearray(SLOT_BYTES) for _ in RINGS]
        self._records = [Alert(buffer) for buffer in self._buffers]
        self._readers: list[RingReader] = []
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self.error = ""
        self.written_seq = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def end(self, timeout_s: float) -> None:
        """Write what is there and stop; a thread that hangs in the disk is left behind."""
        self._is_ending.set()
        if self._thread.ident is None:
            self._close()
        else:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            is_last = self._is_ending.is_set()
            try:
                if not self._readers:
                    self._readers = self._resume()
                self._write_news()
                self.error = ""
            except (OSError, HftError) as error:
                self.error = str(error)
                self._readers = []  # begins again after the last entry that was written
            if is_last:
                self._close()
                return
            self._is_ending.wait(RETRY_S if self.error else LOOK_S)

    def _close(self) -> None:
        for segment in self._segments:
            segment.close()

    def _resume(self) -> list[RingReader]:
        """Readers that begin after the last act of this system's life that is in the trail."""
        last = dict.fromkeys(RINGS, 0)
        lives = {ring: self._life(index) for index, ring in enumerate(RINGS)}
        for entry in audit_file.load(self._state_dir).entries:
            ring = entry.facts.get("ring")
            if ring in last and entry.facts.get("life") == lives[ring]:
                last[ring] = int(entry.facts["seq"])
        self.written_seq = last["acts"]
        return [
            RingReader(segment, buffer, cursor=None, start_seq=last[ring] + 1)
            for segment, buffer, ring in zip(self._segments, self._buffers, RINGS, strict=True)
        ]

    def _life(self, index: int) -> int:
        return load_u64(self._segments[index].buffer, layout.CREATED_WALL_NS_OFFSET)

    def _write_news(self) -> None:
        for index, (reader, record) in enumerate(zip(self._readers, self._records, strict=True)):
            while reader.next():
                code = AlertCode(record.code)
                if RINGS[index] == "acts" or code in FROM_ALERTS:
                    self._write(index, reader.seq, code, record)
                if RINGS[index] == "acts":
                    self.written_seq = reader.seq

    def _write(self, index: int, seq: int, code: AlertCode, record: Alert) -> None:
        text = record.text.rstrip(b"\0").decode(errors="replace")
        facts = {"ring": RINGS[index], "life": self._life(index), "seq": seq}
        if record.limit_e8:
            facts |= {"value": format_e8(record.value_e8), "limit": format_e8(record.limit_e8)}
        if record.instrument_id:
            facts["instrument_id"] = record.instrument_id
        if code is AlertCode.TRADING_STATE and record.value_e8 == TradingState.HALTED:
            text = self._halt.reason() or text
        audit_file.append(
            self._state_dir, system=self._system, event=code.name.lower(),
            by=graph.ring(RINGS[index]).writer, reason=text,
            facts=facts,
        )  # fmt: skip
