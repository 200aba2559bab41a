"""Publishes events to whoever reads them; knows nothing of what they do with them."""

from collections.abc import Callable

from sloth_runner.core.events import Event
from sloth_runner.engine.masking import Mask

Publish = Callable[[Event], None]


class Bus:
    """Hands each event to every reader, in their order.

    A reader that fails gets no more and its error is kept: a broken pipe behind a reader
    must not stop a run half way.
    """

    def __init__(self, *readers: Publish) -> None:
        self._readers = list(readers)
        self.mask = Mask()
        """Of secrets that any text may repeat; nobody is handed one."""
        self.errors: list[Exception] = []

    def publish(self, event: Event) -> None:
        """Hands ``event`` to all readers."""
        event = self.mask.event(event)
        for reader in tuple(self._readers):
            try:
                reader(event)
            except Exception as error:  # a reader's fault, whatever it is, is not the run's
                self._readers.remove(reader)
                self.errors.append(error)
