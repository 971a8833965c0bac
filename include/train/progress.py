"""Progress lines of a job: they end up in CloudWatch Logs, so each is written at once."""


def say(text: str) -> None:
    print(text, flush=True)
