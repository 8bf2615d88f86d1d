"""``hft chaos``: strike the real processes at a misbehaving venue, then audit the books."""

from tools.chaos.flow import run
from tools.chaos.options import Options
from tools.chaos.roll_call import run_mutants

__all__ = ["Options", "run", "run_mutants"]
