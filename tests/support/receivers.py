"""An app's web server that takes webhooks, on a loopback address."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    host: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> dict[str, Any]:
        """The body, once somebody else's code has found the signature to be good."""
        data: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return data


@dataclass
class Receiver:
    """Answers with the `answers` in turn and then with 204. A held one answers when `release` is set."""

    port: int
    requests: list[Received] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str], bytes]] = field(default_factory=deque)
    release: threading.Event = field(default_factory=threading.Event)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """What the next request is told."""
        self.answers.append((status, headers, body))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?key=k3y"

    @property
    def events(self) -> list[str]:
        return [json.loads(request.body)["event"] for request in self.requests]


@contextmanager
def receiving(*, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Runs a receiver until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.requests.append(Received(self.headers["host"], dict(self.headers.items()), body))
            receiver.release.wait(30)
            status, headers, answer = receiver.answers.popleft() if receiver.answers else (204, {}, b"")
            try:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(answer))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(answer)
            except OSError:  # whoever asked has gone
                return

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer((address, port), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        receiver = Receiver(server.server_address[1])
        receiver.release.set()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.release.set()
            server.shutdown()
            thread.join()
