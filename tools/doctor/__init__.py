"""`hft doctor`: what of this host keeps the system from being fast, why, and the command for it.

Checks are pure functions from a ``Host`` to findings. A host is a directory with ``/proc`` and
``/sys`` below it, so that a test brings a captured machine, and the few facts that are no files.
"""
