"""``hft bench load``: many instruments at a high rate for long, and whether anything is lost."""
