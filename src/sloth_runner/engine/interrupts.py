"""Signals: the first SIGINT, SIGTERM or SIGHUP stops cleanly, the second at once.

Signals arrive through a wake-up descriptor and a thread of their own, because the main
thread may be inside Lua for a long time (``signal.set_wakeup_fd``); and in the main thread,
because that may be inside a regular expression, which lets no other thread run.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """A context in which stopping signals call ``on_first``, from another thread.

    The second signal ends the process with 128 + its number; children stay, and the next
    run finds them.
    """

    def __init__(self, on_first: Callable[[str], None]) -> None:
        self._on_first = on_first
        self._before: dict[int, object] = {}
        self._arrived = 0
        self._reading, self._writing = socket.socketpair()

    def __enter__(self) -> "Interrupts":
        self._writing.setblocking(False)
        for number in STOPPING:
            # What is ignored already was meant to be: by nohup, or by a shell for "command &".
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._in_main)
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what it was before
        self._writing.close()

    def _in_main(self, number: int, frame: FrameType | None) -> None:
        """Counts in the main thread too: a regular expression lets no other thread run.

        Everything else is for the other thread, which the wake-up descriptor has told.
        """
        self._arrived += 1
        if self._arrived > 1:
            os._exit(128 + number)

    def _watch(self) -> None:
        stopping = False
        while True:
            received = self._reading.recv(1)
            if not received:
                self._reading.close()
                return
            number = received[0]
            if number not in STOPPING:
                continue
            if stopping:
                os._exit(128 + number)
            stopping = True
            self._on_first(f"stopped by {signal.Signals(number).name}")
