"""``hft bench``: what it costs, measured beside what it is compared with."""
