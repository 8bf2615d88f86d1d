"""``hft order``: trading by hand."""

from __future__ import annotations

from typing import Any

import click

from hft.cli_options import of_system as _of_system
from hft.cli_options import running as _running

_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.group()
def order() -> None:
    """Trade by hand: through risk, with limits of its own ([risk.manual]). Asks before it acts."""


def _trading(what: str, side: int) -> None:
    @order.command(name=what, help=f"{what.capitalize()} QTY of SYMBOL.")
    @click.argument("symbol")
    @click.argument("qty")
    @click.option("--price", help="Limit price; without it: --market.")
    @click.option("--market", is_flag=True, help="At the market, without a limit.")
    @click.option("--post-only", "is_post_only", is_flag=True, help="Rest or not at all.")
    @click.option("--reduce-only", "is_reduce_only", is_flag=True, help="Only shrink a position.")
    @_yes
    @_of_system
    def place(name: str | None, run_dir: str | None, **options: Any) -> None:
        from tools.system import order_command

        order_command.place(_running(name, run_dir), side, order_command.Wish(**options))


_trading("buy", 1)
_trading("sell", -1)


@order.command(name="cancel")
@click.argument("order_id", metavar="[ID]", required=False)
@click.option("--symbol", help="All of our orders in it, whoever placed them.")
@click.option("--all", "is_all", is_flag=True, help="All of our orders.")
@_yes
@_of_system
def order_cancel(name: str | None, run_dir: str | None, **options: Any) -> None:
    """Cancel one order, or many."""
    from tools.system import order_command

    order_command.cancel(_running(name, run_dir), **options)


@order.command(name="flatten")
@click.argument("symbol")
@_yes
@_of_system
def order_flatten(symbol: str, name: str | None, run_dir: str | None, *, yes: bool) -> None:
    """Close the position in SYMBOL at what the market gives, inside the price collar."""
    from tools.system import order_command

    order_command.flatten(_running(name, run_dir), symbol, yes=yes)
