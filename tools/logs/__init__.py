"""The log of a system: what cold processes do and what hot roles report, one JSON object a line.

Hot roles never log. They leave counters, states and alerts in shared memory; the metrics process
(``tools/metrics/watcher.py``) turns those into lines. Any number of cold processes may write the
one file at the same time.
"""
