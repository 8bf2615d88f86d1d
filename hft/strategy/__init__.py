"""Strategies: the protocol of plug-ins, the quote targets, the built-in maker, the loader."""
