"""The errors of nodes: refusals of the API server, and containers that cannot start."""


class ApiError(Exception):
    """The API server's refusal: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class CannotStart(Exception):
    """Why a container cannot start yet, as Kubernetes reports it: a reason such as ErrImagePull, and a message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
