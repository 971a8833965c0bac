"""The serving benchmark: the API beside a bare ASGI app, a naive service and peers, all with the same bodies."""
