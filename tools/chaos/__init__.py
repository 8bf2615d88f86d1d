"""``hft chaos``: kill and stop the real processes under load, then audit against the venue."""

from tools.chaos.flow import run
from tools.chaos.options import Options

__all__ = ["Options", "run"]
