"""Programs that people run; only ``hft.cli`` imports them, and only when one is asked for."""
