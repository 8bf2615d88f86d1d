"""``hft bench t2t``: from the venue's write of a tick to the arrival of the order at the venue."""
