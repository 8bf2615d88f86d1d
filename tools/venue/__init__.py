"""The venue simulator: a server that speaks the Binance USD-M Futures protocol of 2026.

Three ports: REST, market and user streams, WebSocket API. ``server.serve`` and ``server.run``
start it from a ``config.VenueConfig``; ``/sim/truth`` and ``/sim/stats`` on the REST port tell what
really happened. The market is a seeded crowd or a recording; every frame and reply leaves through
``outlet.Outlet``.

What it does not model: conditional (algo) orders, liquidation, leverage brackets beyond the first,
hedge mode (it can be set, orders are then refused) and isolated margin (it can be set and is told,
the wallet backs all positions alike), klines and the 24-hour statistics, market makers' RPI orders.
"""
