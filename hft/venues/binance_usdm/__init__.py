"""Binance USD-M Futures: codec, sessions, REST client. They do I/O and report; roles decide."""
