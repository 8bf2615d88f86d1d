"""Roles: thin shells around the cores, one duty cycle each."""
