"""``hft strategy …`` and ``hft new-strategy``: for those who write plug-ins and run them."""
