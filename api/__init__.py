"""The serving process: one approved bundle, answered for over HTTP. Starts with `python -m api`."""
