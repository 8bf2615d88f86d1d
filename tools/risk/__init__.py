"""Limits of a running system: how far they are used, how they are changed, and the audit trail."""
