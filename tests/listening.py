"""A server on loopback that a test asks: a process, or a container."""

import http.client


class Listening:
    port: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)

    def get(self, path: str) -> int | None:
        """The status of one request on a new connection; None if there is no answer."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()
