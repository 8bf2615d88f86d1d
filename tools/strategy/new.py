"""A new plug-in with its test, as a place to begin."""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
import shlex
import sys
from pathlib import Path
from typing import Final

from hft.errors import UsageError

_NAME: Final = re.compile(r"^[a-z][a-z0-9_]{0,23}$")
_PLUGIN: Final = '''"""{class_name}: say here what it does, and why that should earn money."""

from __future__ import annotations

from hft.core.generated.views import TopOfBook
from hft.records import Side
from hft.strategy.base import DecimalText, InstrumentView, QuoteTargets, StrategyParameters
from hft.units import E8, parse_e8


class {class_name}:
    """Bids at the best bid while it is not long, and offers at the best ask while it is."""

    class Parameters(StrategyParameters, frozen=True):
        """What it may be told."""

        notional: DecimalText = "150"
        """Size of a quote, and of the greatest position, in the quote asset."""

    def __init__(self, parameters: Parameters, instrument: InstrumentView) -> None:
        self._notional_e8 = parse_e8(parameters.notional)

    def on_top_of_book(
        self, now_ns: int, top: TopOfBook, position_e8: int, targets: QuoteTargets
    ) -> None:
        """The newest best bid and ask: say what should rest."""
        qty_e8 = self._notional_e8 * E8 // top.bid_e8
        targets.set(Side.BUY, top.bid_e8, qty_e8 if position_e8 <= 0 else 0)
        targets.set(Side.SELL, top.ask_e8, qty_e8 if position_e8 > 0 else 0)

    def on_timer(self, now_ns: int, targets: QuoteTargets) -> None:
        """Every 10 ms while it may trade, also when no data come."""
'''
_TEST: Final = '''"""{class_name}, on a market that the test turns."""

from __future__ import annotations

from pathlib import Path

from hft.records import Side
from hft.strategy.kit import Trial
from hft.strategy.loader import load_class

{class_name} = load_class(f"{{Path(__file__).with_name('{name}.py')}}:{class_name}")


def test_it_buys_first() -> None:
    trial = Trial({class_name}, notional="20.5")
    trial.top("1000.0", "1000.1")
    assert trial.wanted(Side.BUY) == ("1000", "0.02")
    assert trial.wanted(Side.SELL)[1] == "0"


def test_once_long_it_offers_at_the_ask() -> None:
    trial = Trial({class_name}, notional="20.5")
    trial.top("1000.0", "1000.1")
    trial.fill(Side.BUY)
    assert trial.position == "0.02"
    trial.top("1000.2", "1000.3")
    assert trial.wanted(Side.BUY)[1] == "0"
    assert trial.wanted(Side.SELL) == ("1000.3", "0.02")
'''


def create(name: str, into: Path) -> str:
    """Write ``NAME.py`` and ``test_NAME.py``; returns what to do next.

    Raises:
        UsageError: no name for a module, a file is there already, or none can be written.
    """
    if not _NAME.match(name) or keyword.iskeyword(name) or name.startswith("test_"):
        raise UsageError(
            f"{name!r} is no name for a strategy",
            remedy="At most 24 small letters, digits and underscores, a letter first, and not test_"
            ", by which tests are found.",
        )
    class_name = "".join(part.capitalize() for part in name.split("_"))
    plugin, test = into / f"{name}.py", into / f"test_{name}.py"
    for path in (plugin, test):
        if path.exists():
            raise UsageError(
                f"{path} is there already", remedy="Choose another name, or another directory."
            )
    if importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"{name!r} is the name of a module that others import",
            remedy="The file would be taken for it: choose another name.",
        )
    try:
        into.mkdir(parents=True, exist_ok=True)
        for path, text in ((plugin, _PLUGIN), (test, _TEST)):
            path.write_text(text.format(name=name, class_name=class_name), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write {error.filename or into}: {error.strerror}",
            remedy="Name another directory: hft new-strategy NAME DIR.",
        ) from None
    place = shlex.quote(f"{plugin}:{class_name}")
    return (
        f"wrote {plugin} and {test}\n"
        f"  test it:    {shlex.quote(sys.executable)} -m pytest {shlex.quote(str(test))}\n"
        f"  look at it: hft strategy show {place}\n"
        f"  try it:     hft demo --strategies {place}\n"
        "  run it:     in hft.toml\n\n"
        f'[[strategies]]\nname = "{name}"\n'
        f"plugin = {json.dumps(f'{plugin.absolute()}:{class_name}', ensure_ascii=False)}\n"
        'symbols = ["BTCUSDT"]\nmode = "observe"'
    )
