"""Measure the API beside a bare ASGI application, a naive service and other model servers, with the same bodies."""
