"""EventBridge Scheduler's universal targets: a schedule that is due calls the AWS API as its role.

ministack's own scheduler knows neither time zones nor `arn:aws:scheduler:::aws-sdk:<service>:<operation>`. Here such
schedules are checked every CHECK_SECONDS; the call is made with the role's credentials, and its policies decide.
"""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import eventbridge, scheduler

from include.settings import REGION
from local.aws.cloudformation.handlers import lower_first
from local.aws.iam import role_sessions as roles

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 5.0
UNIVERSAL: Final = "arn:aws:scheduler:::aws-sdk:"
Schedule = dict[str, Any]


def is_due(schedule: Schedule, since: datetime, now: datetime) -> bool:
    """Return whether a cron schedule has a moment in (since, now], in its own time zone. Both are aware datetimes."""
    fields = eventbridge._parse_cron_fields(schedule["ScheduleExpression"])
    if schedule["State"] != "ENABLED" or fields is None:
        return False
    zone = ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    moment = eventbridge._cron_next_fire(fields, since.astimezone(zone))
    return moment is not None and moment <= now


def call(target: Schedule, name: str, endpoint: str) -> None:
    """Call a universal target once, as its role. Raise the service's error or NotTrusted when it is refused.

    The members of the target's input begin in upper case, also where the service's own, like EKS's, do not.
    """
    service, operation = target["Arn"].removeprefix(UNIVERSAL).split(":")
    session = roles.session(target["RoleArn"], "scheduler.amazonaws.com", name, REGION)
    client = session.client(service, endpoint_url=endpoint)
    arguments = json.loads(target.get("Input") or "{}")
    model = client.meta.service_model.operation_model(operation[:1].upper() + operation[1:])
    if not arguments.keys() <= model.input_shape.members.keys():
        arguments = lower_first(arguments)
    getattr(client, xform_name(model.name))(**arguments)


def _due(since: datetime, now: datetime) -> Iterator[Schedule]:
    for _key, schedule in list(scheduler._schedules.all_items()):
        if schedule["Target"].get("Arn", "").startswith(UNIVERSAL) and is_due(schedule, since, now):
            yield schedule


def run(end: threading.Event, endpoint: str) -> None:
    """Call what is due, until the end is set. What was due while this process did not run is not repeated later."""
    since = datetime.now(UTC)
    while not end.wait(CHECK_SECONDS):
        now = datetime.now(UTC)
        for schedule in _due(since, now):
            try:
                call(schedule["Target"], schedule["Name"], endpoint)
                log.info("schedule %s called %s", schedule["Name"], schedule["Target"]["Arn"])
            except (ClientError, BotoCoreError, roles.NotTrusted, ValueError) as error:
                log.warning("schedule %s: %s", schedule["Name"], error)
        since = now
