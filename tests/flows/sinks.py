"""What notifications are sent to, on this machine: a web server and a mail server that keep what they are sent."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Sink(NamedTuple):
    """Where it is, and what it was sent."""

    port: int
    sent: list[Any]


@contextmanager
def web_sink(status: int = 200) -> Iterator[Sink]:
    """A web server that keeps the JSON it is sent, and answers with a status."""
    sent: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    yield from _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), sent)


@contextmanager
def mail_sink() -> Iterator[Sink]:
    """A mail server without a password that keeps each message, with its headers."""
    sent: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline():
                command = line[:4].upper()
                if command == b"DATA":
                    self._say("354 go on")
                    sent.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                self._say("221 bye" if command == b"QUIT" else "250 well")

        def _say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

    yield from _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler), sent)


def _serving(server: socketserver.TCPServer, sent: list[Any]) -> Iterator[Sink]:
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Sink(server.server_address[1], sent)
        finally:
            server.shutdown()
