"""Bringing a system up, watching it, taking it down: what composes the roles into one whole."""
