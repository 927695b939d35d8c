"""An API of a few lines, for what a Prefect server says when it is not well."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One question: such as GET /flow_runs/ID."""

    method: str
    path: str
    body: Any


@contextmanager
def answering(answer: Callable[[Asked], tuple[int, Any]], ahead: float = 0.0) -> Iterator[str]:
    """Yield the address of an API that says for each question its status and JSON, and has a clock that is ahead by so
    many seconds.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, told = answer(Asked(self.command, self.path.removeprefix("/api"), json.loads(text or "null")))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_DELETE = do_GET

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + ahead if timestamp is None else timestamp)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
