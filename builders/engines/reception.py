"""Where replicas come in: whoever has the key is let in, and nobody else.

In: an address to listen at. Out: the connection of each replica that comes, with its name. Each is
welcomed in a thread of its own, as some say nothing at all.

    reception = Reception(listener, key, welcome)
    reception.open()
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge

from builders.engines.messages import Name


class Reception:
    """See the module. `welcome` is called in a thread, which is the connection's own."""

    def __init__(self, listener: Listener, key: bytes, welcome: Callable[[Name, Connection], None]) -> None:
        self._listener, self._key, self._welcome = listener, key, welcome
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._admit, name="reception", daemon=True)

    def open(self) -> None:
        """Let in whoever connects from now on."""
        self._thread.start()

    def close(self) -> None:
        """Let in nobody any more. The thread waits for one who comes: this is the last."""
        self._is_closed.set()
        if self._thread.is_alive():
            with suppress(OSError, EOFError):
                Client(self._listener.address).close()
            self._thread.join()
        self._listener.close()

    def _admit(self) -> None:
        while not self._is_closed.is_set():
            try:
                connection = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: Connection) -> None:
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            name: Name = connection.recv()
        except (OSError, EOFError, AuthenticationError):
            connection.close()
            return  # it was no replica, or one that died on the way in
        self._welcome(name, connection)
