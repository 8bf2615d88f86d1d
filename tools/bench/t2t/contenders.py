"""Who takes part in ``hft bench t2t``, and in which order the table names them."""

from __future__ import annotations

from typing import Final, NamedTuple

from tools.bench.t2t import client, nautilus, peers
from tools.bench.t2t.system import Variant


class Contender(NamedTuple):
    """One row of the table."""

    name: str
    """For ``--peers``."""
    text: str
    body: client.Body | None = None
    """What its process does; None: it is a system."""
    variant: Variant | None = None
    """How the system is set up; None: it is no system."""
    module: str = ""
    """What has to be importable; empty: nothing that is not here anyway."""
    distribution: str = ""
    """Package that has it."""
    by_rest: bool = False
    """Its orders are REST requests: they count as read when the venue's loop began its turn."""
    has_tls: bool = True
    """Whether it can be measured with TLS."""


FLOOR: Final = "floor"
SCRIPT: Final = "script"
BLOCKING: Final = "script-blocking"
COMPACT: Final = "compact"
PARKED: Final = "compact-parked"
DEDICATED: Final = "dedicated"

CONTENDERS: Final = (
    Contender(FLOOR, "C, busy polling", client.floor, has_tls=False),
    Contender(SCRIPT, "bare script, spinning", client.script_spinning),
    Contender("script-picows", "the same on picows, spinning", client.picows_spinning,
              distribution="picows"),
    Contender(BLOCKING, "bare script, blocking", client.script_blocking),
    Contender(COMPACT, "hft compact, spinning", variant=Variant("compact", "busy_spin")),
    Contender(PARKED, "hft compact, parked", variant=Variant("compact", "park")),
    Contender(DEDICATED, "hft dedicated", variant=Variant("dedicated", "auto")),
    Contender("python-binance", "python-binance", peers.python_binance, module="binance",
              distribution="python-binance", has_tls=False),
    Contender("nautilus", "nautilus_trader (REST orders)", nautilus.nautilus,
              module="nautilus_trader", distribution="nautilus_trader", by_rest=True,
              has_tls=False),
    Contender("ccxt", "ccxt.pro", peers.ccxt_pro, module="ccxt.pro", distribution="ccxt",
              has_tls=False),
)  # fmt: skip
