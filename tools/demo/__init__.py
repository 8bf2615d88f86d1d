"""``hft demo``: the whole pipeline on the embedded venue simulator, and what came of it."""

from tools.demo.flow import Options, run

__all__ = ["Options", "run"]
