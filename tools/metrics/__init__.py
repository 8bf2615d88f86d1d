"""What Prometheus sees of a running system, and whether the system is well: a cold process.

It maps everything read-only, is waited for by nobody and may come and go while the system trades.
"""
