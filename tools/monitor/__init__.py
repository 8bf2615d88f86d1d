"""``hft monitor``: a running system on one screen. It attaches read-only and changes nothing.

``source`` reads shared memory into a ``Snapshot``; ``screens`` turns a snapshot and what the person
has chosen into lines, purely; ``keys`` says which key does what; ``driver`` owns the terminal.
"""
