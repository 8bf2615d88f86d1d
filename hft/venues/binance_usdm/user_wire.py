"""User data events as they stand on the wire: the venue's own one- and two-letter names.

What an event cannot be understood without is required; everything else is optional, because
fields come and go. ``user_events`` turns these into events with names and units.
"""

from __future__ import annotations

import msgspec


class WireOrderBody(msgspec.Struct, gc=False):
    """``o`` of an order update."""

    s: str
    i: int
    c: str = ""
    S: str = ""
    o: str = ""
    f: str = ""
    q: str = "0"
    p: str = "0"
    ap: str = "0"
    x: str = ""
    X: str = ""
    l: str = "0"  # noqa: E741  # the venue's name
    z: str = "0"
    L: str = "0"
    n: str | None = None
    N: str | None = None
    T: int = 0
    t: int = 0
    m: bool = False
    R: bool = False
    ps: str = "BOTH"
    rp: str = "0"
    er: str | int = "0"


class WireOrderTradeUpdate(msgspec.Struct, tag_field="e", tag="ORDER_TRADE_UPDATE", gc=False):
    """Anything that happened to an order."""

    o: WireOrderBody
    E: int = 0
    T: int = 0


class WireTradeLite(msgspec.Struct, tag_field="e", tag="TRADE_LITE", gc=False):
    """The short notice of a fill."""

    s: str
    i: int
    t: int
    l: str  # noqa: E741  # the venue's name
    L: str
    c: str = ""
    S: str = ""
    q: str = "0"
    p: str = "0"
    m: bool = False
    E: int = 0
    T: int = 0


class WireBalance(msgspec.Struct, gc=False):
    """``a.B`` of an account update."""

    a: str
    wb: str
    cw: str = "0"
    bc: str = "0"


class WirePosition(msgspec.Struct, gc=False):
    """``a.P`` of an account update."""

    s: str
    pa: str
    ep: str = "0"
    bep: str = "0"
    cr: str = "0"
    up: str = "0"
    mt: str = ""
    iw: str = "0"
    ps: str = "BOTH"


class WireAccountBody(msgspec.Struct, gc=False):
    """``a`` of an account update."""

    B: list[WireBalance] = []
    P: list[WirePosition] = []
    m: str = ""
    S: str = ""


class WireAccountUpdate(msgspec.Struct, tag_field="e", tag="ACCOUNT_UPDATE", gc=False):
    """Changed balances and positions."""

    a: WireAccountBody
    E: int = 0
    T: int = 0


class WireLeverage(msgspec.Struct, gc=False):
    """``ac`` of a configuration update."""

    s: str = ""
    l: int = 0  # noqa: E741  # the venue's name


class WireMode(msgspec.Struct, gc=False):
    """``ai`` of a configuration update."""

    j: bool = False


class WireConfigUpdate(msgspec.Struct, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE", gc=False):
    """Leverage or multi-assets mode changed."""

    ac: WireLeverage | None = None
    ai: WireMode | None = None
    E: int = 0
    T: int = 0


class WireMarginRow(msgspec.Struct, gc=False):
    """``p`` of a margin call."""

    s: str = ""


class WireMarginCall(msgspec.Struct, tag_field="e", tag="MARGIN_CALL", gc=False):
    """Positions at risk."""

    p: list[WireMarginRow] = []
    E: int = 0


class WireAlgoBody(msgspec.Struct, gc=False):
    """``o`` of an algo update."""

    s: str
    aid: int
    caid: str = ""
    X: str = ""
    ai: str = ""
    rm: str = ""


class WireAlgoUpdate(msgspec.Struct, tag_field="e", tag="ALGO_UPDATE", gc=False):
    """A conditional order changed."""

    o: WireAlgoBody
    E: int = 0
    T: int = 0


class WireExpired(msgspec.Struct, tag_field="e", tag="listenKeyExpired", gc=False):
    """The listen key is gone."""

    # ``E`` is a number or a text, depending on the page: nothing but the name is relied on.
    listenKey: str | None = None
