"""Hooks: all I/O with AWS and the cluster."""
