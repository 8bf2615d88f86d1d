"""The slow half of the strategy engine: commands, loading anew, what a successor must know."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hft import counters
from hft.config import StrategyConfig
from hft.core.instruments import InstrumentRules
from hft.errors import HftError, UsageError
from hft.records import Mode
from hft.roles.callback_note import Callback, Note, culprit
from hft.roles.containment import (
    LOAD_TICKS,
    START_TICKS,
    guarded,
    held_bytes,
    resident_bytes,
)
from hft.roles.context import Context
from hft.roles.desk import MODES, PAUSED_BY, Desk, IdlePlugin
from hft.roles.strategy_status import (
    OVERRIDES_FILE,
    PRIORITY_RULE,
    STATUS_FILE,
    Answer,
    EngineStatus,
    Kept,
    Overrides,
    StrategyStatus,
    desk_status,
    read_overrides,
    replace_file,
    strategies_dir,
)
from hft.strategy.errors import StrategyError, StrategyLoadError
from hft.strategy.loader import (
    load_anew,
    load_class,
    load_parameters,
    make_strategy,
    source_path,
)
from hft.units import NS_PER_S
from ipc import Command

if TYPE_CHECKING:
    from hft.roles.strategy import StrategyEngine

FILES_NS: Final = NS_PER_S
"""How often it is looked whether a plug-in's file has changed."""
ANSWERS_MAX: Final = 32
DIED: Final = "the process died or hung in its "
MIB: Final = 1 << 20
GROWTH_BYTES_MAX: Final = 256 * MIB
"""A process that has grown by so much since its start has a plug-in that leaks."""
HELD_BYTES_MIN: Final = 16 * MIB
"""Who holds less is not to blame."""


class StrategyControl:
    """Carries out commands. Nothing here runs between a tick and its intent."""

    def __init__(self, engine: StrategyEngine, context: Context) -> None:
        self._engine = engine
        self._context = context
        self._dir = strategies_dir(context.state_dir)
        self._overrides = Overrides()
        self._classes: dict[str, type[Any]] = {}
        self._loaded: dict[str, str] = {}
        self._mtimes_ns: dict[str, int] = {}
        self._answers: deque[Answer] = deque(maxlen=ANSWERS_MAX)
        self._files_ns = 0
        self.growth_bytes_max = GROWTH_BYTES_MAX
        self._resident_bytes = 0
        """At the start, and after a leak was stopped."""
        self._dropped = 0
        self._has_incident = False
        self._handlers: dict[str, Callable[[Command, StrategyConfig], str]] = {
            "pause": self._pause,
            "resume": self._resume,
            "reload": self._reload_asked,
            "set": self._set,
            "mode": self._mode,
        }

    # -- start ----------------------------------------------------------------------------------

    def load(self) -> None:
        """Take over what a predecessor was told since ``hft up``."""
        plan = self._context.plan
        self._overrides = read_overrides(self._context.state_dir, plan.started_wall_ns)

    def make(self, config: StrategyConfig, instrument: InstrumentRules) -> object:
        """The plug-in's object for one instrument.

        Raises:
            StrategyLoadError: the plug-in or its parameters do not hold.
        """
        ticks_max = START_TICKS
        plugin_class = self._classes.get(config.name)
        if plugin_class is None:
            plugin_class = self._watched(config, load_class, config.plugin, ticks_max=ticks_max)
            self._classes[config.name] = plugin_class
            self._mtimes_ns[config.name] = _mtime_ns(config.plugin)
        parameters = self._kept(config).parameters
        return self._watched(
            config, self._make, config, plugin_class, parameters, instrument, ticks_max=ticks_max
        )

    def mode_of(self, config: StrategyConfig) -> Mode:
        """The mode to start in."""
        return MODES[self._kept(config).mode or config.mode]

    def pause_of(self, config: StrategyConfig, symbol: str) -> str:
        """Why a desk stays paused over a restart; empty: it does not."""
        return self._kept(config).pauses.get(symbol, "")

    def blame(self, now_ns: int) -> None:
        """Pause from the start the strategy that processes died in, with all that is its own.

        Its code is not even loaded: that may be what killed.
        """
        settings, page = self._context.config.supervisor, self._context.page
        note = culprit(page, now_ns, settings.crash_window_s, settings.crashes_max)
        if note is None:
            return
        symbols = {one.instrument_id: one.symbol for one in self._context.plan.instruments}
        config = self._context.config.strategies[note.strategy_id - 1]
        where = note.callback.name.lower()
        if symbol := symbols.get(note.instrument_id):
            where += f" on {symbol}"
        reason = f"{DIED}{where}"
        for symbol in config.symbols:
            self._kept(config).pauses[symbol] = reason
        remedy = "Mend it; hft strategy resume loads it anew."
        event = "  none is known: nothing of the process was left"
        self._engine.incidents.note(config.name, reason, remedy, event)
        page.count(counters.PLUGIN_ERRORS.id)
        page.fail(f"{config.name}: {reason}")
        self._has_incident = True

    def note_pause(self, desk: Desk) -> None:
        """A plug-in failed: a successor is not to call it again before a person looked."""
        self._kept(desk.config).pauses[desk.instrument.symbol] = desk.pause_reason
        self._has_incident = True

    # -- cycle ----------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> int:
        """Commands, changed files, files to write: the engine asks every 20 ms."""
        count = 0
        queue, context = self._context.commands, self._context
        while (command := queue.receive(context.source, epoch=context.epoch)) is not None:
            context.page.count(counters.COMMANDS.id)
            self._answers.append(self._carry_out(command))
            self._write_status()
            count += 1
        if queue.dropped > self._dropped:
            context.page.count(counters.COMMANDS_DROPPED.id, queue.dropped - self._dropped)
            self._dropped = queue.dropped
        if self._has_incident:
            self._has_incident = False
            with contextlib.suppress(OSError):
                self._keep()
            self._engine.incidents.write()
            self._write_status()
        if now_ns - self._files_ns >= FILES_NS:
            self._files_ns = now_ns
            self._look_at_files()
            self._look_at_memory()
        return count

    def _look_at_files(self) -> None:
        for config in self._context.config.strategies:
            if not config.reload_on_change:
                continue
            mtime_ns = _mtime_ns(config.plugin)
            if mtime_ns and mtime_ns != self._mtimes_ns.get(config.name):
                with contextlib.suppress(HftError):  # the status says why
                    self._reload(config)
                self._write_status()

    def _look_at_memory(self) -> None:
        """Pause the plug-in that holds the most, when the process has grown too much."""
        now_bytes = resident_bytes()
        if not self._resident_bytes:
            self._resident_bytes = now_bytes
        if now_bytes - self._resident_bytes <= self.growth_bytes_max:
            return
        self._resident_bytes = now_bytes
        held = [(held_bytes(desk.plugin), desk) for desk in self._engine.desks]
        most_bytes, desk = max(held, key=lambda one: one[0], default=(0, None))
        if desk is None or most_bytes < HELD_BYTES_MIN:
            return
        error = StrategyError(
            f"it holds {most_bytes // MIB} MiB or more, and the process grew by "
            f"{self.growth_bytes_max // MIB} MiB",
            remedy="Bound what it keeps; hft strategy reload begins anew.",
        )
        self._engine.contained(desk, error, "memory", "  the plug-in")
        desk.install(IdlePlugin())

    def _carry_out(self, command: Command) -> Answer:
        nonce = str(command.args.get("nonce", ""))
        try:
            if command.name == "report":
                return Answer(nonce, "")
            handler = self._handlers.get(command.name)
            if handler is None:
                raise UsageError(
                    f"strategy knows no command {command.name}",
                    remedy=f"It knows {', '.join(self._handlers)}.",
                )
            return Answer(nonce, handler(command, self._find(command)))
        except HftError as error:
            return Answer(nonce, "", error.message, error.remedy)
        except OSError as error:
            return Answer(nonce, "", f"{self._dir} cannot be written: {error}", "Mend the disk.")

    def _find(self, command: Command) -> StrategyConfig:
        name = command.args.get("strategy")
        strategies = self._context.config.strategies
        for config in strategies:
            if config.name == name:
                return config
        raise UsageError(
            f"there is no strategy {name!r}",
            remedy=f"There is {', '.join(config.name for config in strategies) or 'none'}.",
        )

    # -- commands -------------------------------------------------------------------------------

    def _pause(self, command: Command, config: StrategyConfig) -> str:
        reason = f"{PAUSED_BY}{command.sender}: {command.args.get('reason') or 'no reason given'}"
        for desk in self._desks(config):
            desk.pause_reason = reason
            desk.targets.withdraw()
            self._kept(config).pauses[desk.instrument.symbol] = reason
        self._keep()
        return f"{config.name} is paused; its orders are cancelled"

    def _resume(self, _command: Command, config: StrategyConfig) -> str:
        if any(isinstance(desk.plugin, IdlePlugin) for desk in self._desks(config)):
            self._reload(config)
        for desk in self._desks(config):
            desk.pause_reason = ""
        self._kept(config).pauses.clear()
        self._keep()
        return f"{config.name} runs"

    def _reload_asked(self, _command: Command, config: StrategyConfig) -> str:
        return self._reload(config)

    def _set(self, command: Command, config: StrategyConfig) -> str:
        key, text = command.args.get("key"), command.args.get("value")
        if not (isinstance(key, str) and isinstance(text, str)):
            raise UsageError("set needs a parameter and its value", remedy="Write key=value.")
        kept = self._kept(config)
        parameters = {**kept.parameters, key: text}
        plugin_class = self._classes.get(config.name) or self._watched(
            config, load_class, config.plugin
        )
        self._replace(config, plugin_class, parameters)
        kept.parameters = parameters
        self._keep()
        return f"{config.name}: {key} = {text}"

    def _mode(self, command: Command, config: StrategyConfig) -> str:
        name = command.args.get("mode")
        if not isinstance(name, str) or name not in MODES:
            raise UsageError(f"there is no mode {name!r}", remedy=f"Write {', '.join(MODES)}.")
        if name == "paper" and not self._engine.has_paper:
            raise UsageError(
                "this system has no paper role, which would fill the orders",
                remedy='Write [paper] start = "always" in the settings and start the system again.',
            )
        mode = MODES[name]
        self._kept(config).mode = name
        self._keep()  # before anything changes: a successor must not trade live again
        for desk in self._desks(config):
            desk.next_mode = mode if mode is not desk.mode else None
        return f"{config.name} changes to {name}, as soon as nothing of the old mode is open"

    # -- loading --------------------------------------------------------------------------------

    def _reload(self, config: StrategyConfig) -> str:
        """Load code and parameters anew; what does not hold leaves the old ones running.

        Raises:
            StrategyLoadError: it does not hold.
        """
        when = time.strftime("%H:%M:%S UTC", time.gmtime())
        self._mtimes_ns[config.name] = _mtime_ns(config.plugin)
        try:
            plugin_class = self._watched(config, load_anew, config.plugin)
            self._replace(config, plugin_class, self._kept(config).parameters)
        except StrategyLoadError as error:
            self._loaded[config.name] = f"{when} refused, the old one runs: {error.message}"
            raise
        self._classes[config.name] = plugin_class
        self._loaded[config.name] = f"{when} loaded anew"
        return f"{config.name} is loaded anew"

    def _replace(
        self, config: StrategyConfig, plugin_class: type[Any], parameters: dict[str, str]
    ) -> None:
        """Make the new objects, hand the state over, and only then let them take over."""
        made = []
        for desk in self._desks(config):
            plugin = self._watched(
                config, self._make, config, plugin_class, parameters, desk.instrument
            )
            self._hand_over(config, desk, plugin)
            made.append((desk, plugin))
        for desk, plugin in made:
            desk.install(plugin)
            if desk.has_failed:  # mended, it is to be hoped; what a person paused stays so
                desk.errors = 0
                desk.pause_reason = ""
                self._kept(config).pauses.pop(desk.instrument.symbol, None)
        self._keep()

    def _hand_over(self, config: StrategyConfig, desk: Desk, plugin: Any) -> None:
        """State from the old object to the new one, where both have the hook."""
        save, restore = getattr(desk.plugin, "save", None), getattr(plugin, "restore", None)
        if save is None or restore is None:
            return
        try:
            state = self._watched(config, save)
        except StrategyLoadError:
            if desk.has_failed:
                return  # it is broken: the new one begins without its state
            raise
        if not isinstance(state, dict):
            raise StrategyLoadError(
                f"{config.plugin}: save returned {type(state).__name__}", remedy="Return a dict."
            )
        self._watched(config, restore, state)

    def _watched(
        self,
        config: StrategyConfig,
        handler: Callable[..., Any],
        *arguments: Any,
        ticks_max: int = LOAD_TICKS,
    ) -> Any:
        """Call what belongs to a plug-in's author; whatever goes wrong is a StrategyLoadError."""
        page = self._context.page
        strategy_id = self._context.config.strategies.index(config) + 1
        page.set_gauge(counters.IN_CALLBACK.id, Note(strategy_id, 0, Callback.LOADING).word)
        try:
            watch = self._engine.callback_watch
            return guarded(watch, config.plugin, handler, *arguments, ticks_max=ticks_max)
        finally:
            page.set_gauge(counters.IN_CALLBACK.id, 0)

    def _make(
        self,
        config: StrategyConfig,
        plugin_class: type[Any],
        overrides: dict[str, str],
        instrument: InstrumentRules,
    ) -> object:
        values: dict[str, object] = {**config.parameters, **overrides}
        parameters = load_parameters(plugin_class, values, config.plugin, is_strict=not overrides)
        return make_strategy(plugin_class, parameters, instrument, config.plugin)

    # -- files ----------------------------------------------------------------------------------

    def _desks(self, config: StrategyConfig) -> list[Desk]:
        return [desk for desk in self._engine.desks if desk.config.name == config.name]

    def _kept(self, config: StrategyConfig) -> Kept:
        return self._overrides.strategies.setdefault(config.name, Kept())

    def _keep(self) -> None:
        replace_file(self._dir / OVERRIDES_FILE, self._overrides)

    def _write_status(self) -> None:
        """A disk that does not take it stops nobody: whoever asked is told by the silence."""
        strategies = tuple(map(self._status_of, self._context.config.strategies))
        status = EngineStatus(
            wall_ns=time.time_ns(),
            rule=PRIORITY_RULE,
            strategies=strategies,
            answers=tuple(self._answers),
        )
        with contextlib.suppress(OSError):
            replace_file(self._dir / STATUS_FILE, status)

    def _status_of(self, config: StrategyConfig) -> StrategyStatus:
        kept = self._kept(config)
        error_file = self._dir / config.name / "last_error.txt"
        return StrategyStatus(
            name=config.name,
            plugin=config.plugin,
            mode=kept.mode or config.mode,
            priority=config.priority,
            parameters=self._parameters_of(config, kept),
            loaded=self._loaded.get(config.name, ""),
            error_file=str(error_file) if error_file.exists() else "",
            desks=tuple(map(desk_status, self._desks(config))),
        )

    def _parameters_of(self, config: StrategyConfig, kept: Kept) -> dict[str, object]:
        """All of them, defaults included."""
        values: dict[str, object] = {**config.parameters, **kept.parameters}
        plugin_class = self._classes.get(config.name)
        if plugin_class is None:
            return values
        try:
            found = load_parameters(plugin_class, values, config.plugin, is_strict=False)
        except StrategyLoadError:
            return values
        return dict(msgspec.to_builtins(found))


def _mtime_ns(plugin: str) -> int:
    """When the plug-in's file was changed; 0: it has none."""
    path = source_path(plugin)
    try:
        return path.stat().st_mtime_ns if path is not None else 0
    except OSError:
        return 0
