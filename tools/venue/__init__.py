"""The venue simulator: a server that speaks the Binance USD-M Futures protocol of 2026.

Three ports: REST, market and user streams, WebSocket API. ``server.serve`` and ``server.run``
start it from a ``config.VenueConfig``; ``/sim/truth`` and ``/sim/stats`` on the REST port tell what
really happened. The market is a seeded crowd or a recording; every frame and reply leaves through
``outlet.Outlet``.

Faults are made by command (``POST /sim/fault?kind=...``; ``GET /sim/faults`` lists the kinds, their
options and counts) and by the seeded schedule of ``config.FaultConfig``; see ``faults.Faults``.

Conditional (algo) orders are a store of their own: neither allOpenOrders nor the countdown touches
them (of the countdown the venue's documents do not say it; its text names orders only).

What it does not model: liquidation other than by command, dated conditional orders, leverage
brackets beyond the first, hedge mode (it can be set, orders are then refused) and isolated margin
(it can be set and is told, the wallet backs all positions alike), klines and the 24-hour
statistics, market makers' RPI orders.
"""
