"""The HTTP side of the service: application, protocol, endpoints, authentication."""
