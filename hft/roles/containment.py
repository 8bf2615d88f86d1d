"""What keeps a plug-in from hurting anybody but itself: time, rate, and a note for its author."""

from __future__ import annotations

import contextlib
import gc
import resource
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from hft.core.generated.views import RecordView
from hft.roles.callback_mark import CallbackMark
from hft.strategy.errors import CallbackOverrunError, StrategyLoadError
from hft.strategy.loader import load_class, load_parameters
from hft.strategy.orders import Orders
from hft.strategy.targets import QuoteTargets
from hft.strategy.view import View

TICK_S: Final = 0.025
"""How often the watch looks: 40 signals a second, a few instructions each."""
CALLBACK_TICKS: Final = 2
"""A callback is interrupted when so many looks in a row find it: after 50 to 75 ms."""
LOAD_TICKS: Final = 8
"""As above while a plug-in is loaded anew: an import may take longer, and must not take 250 ms."""
START_TICKS: Final = 200
"""As above before anything trades."""
INCIDENT_CHARS_MAX: Final = 16_384
WHAT_CHARS_MAX: Final = 500
"""So much of an error's own words is repeated where one line is due."""
HELD_SAMPLE: Final = 256
"""So many children of a container are looked at, about."""
HELD_OBJECTS_MAX: Final = 20_000
"""Objects of a plug-in that are looked at to see who holds the memory."""
_SHARED: Final = (
    type, ModuleType, FunctionType, MethodType, QuoteTargets, Orders, View,
)  # fmt: skip
"""What a plug-in points to and does not own."""


class CallbackWatch(CallbackMark):
    """Interrupts a callback that does not return: the cost of one is two stores.

    A repeating timer looks at ``inside``, without Python until a callback overran. Two looks that
    find the same callback have been a tick apart, so that a process which was stopped for a while
    blames nobody. Only the main thread of a process can be interrupted, and only where nobody else
    uses the timer.
    """

    __slots__ = ("is_armed",)

    def __init__(self) -> None:
        self.ticks_max = CALLBACK_TICKS
        self.is_armed = False

    def arm(self) -> None:
        """Start looking, where that is possible."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, signal.SIG_IGN, None):
            signal.signal(signal.SIGALRM, self._on_overrun)
            self.look_at_ticks()
            signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
            self.is_armed = True

    def disarm(self) -> None:
        """Stop looking."""
        if self.is_armed:
            self.is_armed = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def call(
        self, handler: Callable[..., Any], *arguments: Any, ticks_max: int = LOAD_TICKS
    ) -> Any:
        """Call something of a plug-in's that is no market callback: its hooks, its loading."""
        self.ticks_max = ticks_max
        self.calls += 1
        self.inside = self.calls
        try:
            return handler(*arguments)
        finally:
            self.inside = 0
            self.ticks_max = CALLBACK_TICKS

    def _on_overrun(self, _number: int, _frame: object) -> None:
        # Python comes to it at the next bytecode: who overran may have returned by then.
        if self.inside and self.inside == self.overran:
            raise CallbackOverrunError(int(1_000 * TICK_S * self.ticks_max))


def told(error: BaseException, watch: CallbackWatch) -> tuple[str, str]:
    """An error in a line, and its traceback; the words are its author's, and may be anything."""
    try:
        what, trace = watch.call(_in_words, error, ticks_max=CALLBACK_TICKS)
    except BaseException:
        what = f"{type(error).__name__}, which cannot be told"
        places = "".join(traceback.format_tb(error.__traceback__))
        trace = f"Traceback (most recent call last):\n{places}{what}"
    if len(trace) > INCIDENT_CHARS_MAX:  # where it began and how it ended, without what is between
        half = INCIDENT_CHARS_MAX // 2
        trace = f"{trace[:half]}\n  …\n{trace[-half:]}"
    return printable(what[:WHAT_CHARS_MAX]), printable(trace)


def _in_words(error: BaseException) -> tuple[str, str]:
    what = str(getattr(error, "message", None) or repr(error))
    return what, "".join(traceback.format_exception(error))


def printable(text: str) -> str:
    """Without what no file and no terminal takes: halves of surrogate pairs."""
    return text.encode(errors="replace").decode()


def guarded(
    watch: CallbackWatch, plugin: str, handler: Callable[..., Any], *arguments: Any, ticks_max: int
) -> Any:
    """Call what belongs to a plug-in's author, where it is loaded.

    Raises:
        StrategyLoadError: it takes too long, or whatever else goes wrong.
    """
    try:
        return watch.call(handler, *arguments, ticks_max=ticks_max)
    except StrategyLoadError as error:
        raise StrategyLoadError(printable(error.message), remedy=printable(error.remedy)) from error
    except CallbackOverrunError as error:
        raise StrategyLoadError(
            f"{plugin} takes longer than {error.duration_ms} ms to load{_place(error)}",
            remedy="Whatever loops or waits while it is imported or made belongs elsewhere.",
        ) from error
    except BaseException as error:
        name = getattr(handler, "__name__", "hook")
        raise StrategyLoadError(
            f"{plugin}: {name} raised {told(error, watch)[0]}{_place(error)}",
            remedy="Mend the plug-in.",
        ) from error


def _place(error: BaseException) -> str:
    """The innermost place that is not the watch's own."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return f", in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


def load_bounded(plugin: str, values: Mapping[str, object] | None = None) -> type[Any]:
    """The class of a plug-in, for a command that must come to its end whatever the plug-in does.

    ``values``: parameters to try it with; None: none.

    Raises:
        StrategyLoadError: it does not hold, or takes longer to load than the engine would wait.
        KeyboardInterrupt: Ctrl-C in the meantime.
    """

    def load() -> type[Any]:
        plugin_class = load_class(plugin)
        if values is not None:
            load_parameters(plugin_class, values, plugin)
        return plugin_class

    watch = CallbackWatch()
    with _heeded_interrupt():
        watch.arm()
        try:
            found: type[Any] = guarded(watch, plugin, load, ticks_max=START_TICKS)
        finally:
            watch.disarm()
    return found


@contextlib.contextmanager
def _heeded_interrupt() -> Iterator[None]:
    """Ctrl-C in the block ends the command, whatever a plug-in or its guard makes of it."""
    is_asked = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        is_asked = True
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # it is for somebody else
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if is_asked:
            raise KeyboardInterrupt


class IncidentBook:
    """What went wrong with plug-ins, kept for their authors; written when the process is idle."""

    def __init__(self, state_dir: Path) -> None:
        self._dir = state_dir / "strategies"
        self._waiting: dict[str, str] = {}

    def note(self, strategy: str, what: str, trace: str, event: str) -> None:
        """Keep a traceback and the event that it happened at: the newest of each strategy."""
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self._waiting[strategy] = f"{when}  {what}\n\n{trace}\nevent:\n{event}\n"

    def write(self) -> None:
        """Write what waits. A disk that does not take it stops nobody."""
        while self._waiting:
            strategy, text = self._waiting.popitem()
            with contextlib.suppress(OSError):
                place = self._dir / strategy
                place.mkdir(parents=True, exist_ok=True)
                fresh = place / "last_error.new"
                fresh.write_text(text, encoding="utf-8", errors="replace")
                fresh.replace(place / "last_error.txt")


def event_text(record: object) -> str:
    """A record as ``name = value`` lines, for a person to read."""
    if not isinstance(record, RecordView):
        return f"  {record!r}"
    names = [name for name in dir(type(record)) if not name.startswith("_") and name != "BYTES"]
    fields = {name: getattr(record, name, None) for name in names}
    lines = [f"  {name} = {value}" for name, value in fields.items() if not callable(value)]
    return "\n".join([f"  {type(record).__name__}", *lines])


def resident_bytes() -> int:
    """Memory that the process has in use."""
    pages = Path("/proc/self/statm").read_bytes().split()[1]
    return int(pages) * resource.getpagesize()


def held_bytes(plugin: object) -> int:
    """Roughly what a plug-in holds, in itself and in its module: enough to say who.

    Of a container with many children a sample stands for all, unless it holds the same again and
    again.
    """
    module = sys.modules.get(type(plugin).__module__)
    roots = [plugin, *([] if module is None else vars(module).values())]
    waiting: deque[tuple[object, float]] = deque((root, 1.0) for root in roots)
    seen: set[int] = set()
    total_bytes = 0.0
    while waiting and len(seen) < HELD_OBJECTS_MAX:
        one, weight = waiting.popleft()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        total_bytes += weight * sys.getsizeof(one, 0)
        children = gc.get_referents(one)
        # An odd step: the children of a dict are its keys and its values in turn.
        sample = children[:: len(children) // HELD_SAMPLE | 1]
        if len({id(child) for child in sample}) == len(sample):
            weight *= len(children) / max(1, len(sample))
        waiting.extend((child, weight) for child in sample)
    return int(total_bytes)
