"""Who listens to which stream. A frame is encoded once for all its listeners."""

from __future__ import annotations

from tools.venue.outlet import Channel, Outlet, Sink


class Topic:
    """One stream name and its listeners, who want the payload bare or in the combined envelope."""

    __slots__ = ("_envelope", "_name", "_outlet", "bare", "combined")

    def __init__(self, name: str, outlet: Outlet) -> None:
        self._name = name
        self._outlet = outlet
        self._envelope = f'{{"stream":"{name}","data":'
        # Dictionaries as ordered sets: delivery order is the order of subscription.
        self.bare: dict[Sink, None] = {}
        self.combined: dict[Sink, None] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether encoding a frame is worth it."""
        return bool(self.bare or self.combined)

    def publish(self, payload: str) -> None:
        """Send one frame to everybody who listens."""
        outlet = self._outlet
        if self.bare:
            frame = payload.encode()
            for sink in tuple(self.bare):
                outlet.send(sink, Channel.MARKET, self._name, frame)
        if self.combined:
            frame = f"{self._envelope}{payload}}}".encode()
            for sink in tuple(self.combined):
                outlet.send(sink, Channel.MARKET, self._name, frame)


class Hub:
    """All topics. Names nobody publishes can be listened to as well: they stay silent."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self._topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic:
        """The topic of a stream name."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, self.outlet)
        return topic

    def listen(self, sink: Sink, name: str, *, is_combined: bool) -> None:
        """Add a listener, or change the form in which it gets the stream."""
        topic = self.topic(name)
        topic.bare.pop(sink, None)
        topic.combined.pop(sink, None)
        (topic.combined if is_combined else topic.bare)[sink] = None

    def leave(self, sink: Sink, name: str) -> None:
        """Remove a listener."""
        topic = self._topics.get(name)
        if topic is not None:
            topic.bare.pop(sink, None)
            topic.combined.pop(sink, None)
