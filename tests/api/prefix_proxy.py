"""A small reverse proxy that serves an upstream below a path, as nginx and HAProxy are configured to."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer")


@contextmanager
def prefix_proxy(upstream: str, prefix: str, *, strips: bool, headers: bool, host: bool = True) -> Iterator[str]:
    """Run the proxy; yield its address with the path.

    Args:
        upstream: address to forward to.
        prefix: path that is served; all others return 404.
        strips: whether the path is removed from forwarded requests.
        headers: whether the proxy sends X-Forwarded-Prefix, -For and -Proto.
        host: whether the proxy forwards the client's Host, rather than the upstream's.
    """
    at = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            inside = self.path.removeprefix(prefix)
            if inside == self.path or inside[:1] not in ("", "/", "?"):
                self.send_error(404, "not below the proxy's path")
                return
            length = int(self.headers.get("Content-Length", 0))
            sent = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            if not host:
                sent["Host"] = at.netloc
            if headers:
                sent |= {"X-Forwarded-Prefix": prefix, "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}
            target = (inside if inside.startswith("/") else f"/{inside}") if strips else self.path
            with closing(http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)) as connection:
                connection.request(self.command, target, self.rfile.read(length) if length else None, sent)
                self.respond(connection.getresponse())

        def respond(self, answer: http.client.HTTPResponse) -> None:
            """Forward a response, part by part, and close the connection after it."""
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                while part := answer.read1(65_536):
                    self.wfile.write(part)
            self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = forward  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            thread.join()
