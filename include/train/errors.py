"""Errors of training and evaluation: each text says what is wrong, where, and what to do."""


class TrainingError(Exception):
    """Training or evaluation cannot go on."""


class GoldError(TrainingError):
    """The gold splits that the job was given are not what their manifests say, or leak."""


class TooLittleDataError(TrainingError):
    """There are too few baskets to learn from."""


class HyperparametersError(TrainingError):
    """A hyperparameter is unknown or out of range."""
