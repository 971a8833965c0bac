"""Training and evaluation of the model: `python -m include.train fit` and `python -m include.train evaluate`."""
