"""The model side of the service: from a release's settings to a verified bundle."""
