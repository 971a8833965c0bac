"""What a process node says when something does not work."""


class ApiError(Exception):
    """The API server's refusal: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class CannotStart(Exception):
    """Why a container cannot start yet, in Kubernetes' words: a reason such as ErrImagePull, and a message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message = reason, message
