"""Carries out what a person asked for by hand; only who trades pays for its start."""

from __future__ import annotations

from pathlib import Path

from hft.records import Side
from tools.monitor.deal import SIDES, Deal
from tools.system.manual import ManualDesk
from tools.system.manual_order import Ticket


def trade(run_dir: Path, deal: Deal) -> str:
    """Do it, wait for what became of it, and say so.

    Raises:
        HftError: it was refused, is not allowed, or nobody answers.
        IpcError: the system is of another build, or gone.
    """
    with ManualDesk(run_dir) as desk:
        if deal.what in SIDES:
            side = Side(SIDES[deal.what])
            outcome = desk.place(Ticket(deal.symbol, side, deal.qty_e8, deal.price_e8))
        elif deal.what == "flatten":
            outcome = desk.flatten(deal.symbol)
        elif deal.order_id:
            outcome = desk.cancel(deal.order_id)
        else:
            outcome = desk.cancel_all(deal.symbol)
        return outcome.require().text
