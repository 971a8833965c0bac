"""Errors of training and evaluation. Each text says what is wrong, where, and what to do next."""


class TrainingError(Exception):
    """Training or evaluation cannot continue."""


class GoldError(TrainingError):
    """The gold files differ from what their manifests say, or two splits share customers or contents."""


class TooLittleDataError(TrainingError):
    """There are too few baskets to learn from."""


class HyperparametersError(TrainingError):
    """A hyperparameter is unknown or out of range."""
