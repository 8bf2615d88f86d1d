import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from typing_extensions import disjoint_base

from hft.roles.context import Role
from ipc import Parker, RolePage

ROUNDS_PER_TURN_MAX: Final[int]
"""Passes over the roles before sockets get their turn again."""
SPIN_NS_MAX: Final[int]
READS_PER_TURN: Final[int]
"""Looks into the sockets that ticks come by, while spinning, for each turn of the event loop."""
PASS_NS: Final[int]
"""While spinning, all roles have a pass at least this often."""

@disjoint_base
class Cycle:
    def __init__(self, roles: Sequence[Role], pages: Sequence[RolePage]) -> None: ...
    @property
    def roles(self) -> tuple[Role, ...]: ...
    @property
    def pages(self) -> tuple[RolePage, ...]: ...
    def pass_once(self, now_ns: int) -> int: ...

def turn_alone(cycle: Cycle, wait: Any, after_turn: Callable[[int, bool], bool]) -> None: ...

@disjoint_base
class Turning:
    is_finished: bool
    def __init__(self, cycle: Cycle, parker: Parker, wait: str) -> None: ...
    def on_fifo(self) -> None: ...
    def turn_in(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def read_between_turns(self, reads: Iterable[Callable[[], None]]) -> None: ...
    def turn(self) -> None: ...
    def _on_soon(self) -> None: ...
