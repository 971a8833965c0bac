"""Resource types of the observability, budget and audit stacks that ministack lacks or handles in part.

Budgets never raise an alert and a trail delivers no file. Schedules with universal targets act (`local.aws.schedules`).
"""

from collections.abc import Callable
from typing import Any, Final

from ministack.services.cloudformation import provisioners

from local.aws import root
from local.aws.cloudformation.handlers import (
    Created,
    Properties,
    lower_first,
    new_type,
    pick,
    replace_handler,
    unless_gone,
)
from local.aws.patch import wrap


def _account() -> str:
    return str(root.client("sts").get_caller_identity()["Account"])


class Budget:
    """AWS::Budgets::Budget; physical id: its name. Other notifications replace it, which needs another name."""

    @staticmethod
    def _budget(properties: Properties) -> Properties:
        limit = properties["Budget"]["BudgetLimit"]
        return properties["Budget"] | {"BudgetLimit": {"Amount": str(limit["Amount"]), "Unit": limit["Unit"]}}

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the budget."""
        root.client("budgets").create_budget(
            AccountId=_account(),
            Budget=cls._budget(properties),
            NotificationsWithSubscribers=properties.get("NotificationsWithSubscribers", []),
            ResourceTags=properties.get("ResourceTags", []),
        )
        return properties["Budget"]["BudgetName"], {}

    @classmethod
    def update(cls, name: str, old: Properties, new: Properties, stack: str) -> Created:
        """Change the budget; another name or other notifications replace it."""
        notifications = "NotificationsWithSubscribers"
        if new["Budget"]["BudgetName"] != name or new.get(notifications) != old.get(notifications):
            # as on AWS: DuplicateRecordException when only the notifications differ
            replacement = cls.create("", new, stack)
            cls.delete(name, old)
            return replacement
        root.client("budgets").update_budget(AccountId=_account(), NewBudget=cls._budget(new))
        return name, {}

    @staticmethod
    def delete(name: str, _properties: Properties) -> None:
        """Delete the budget; it may be gone already."""
        unless_gone(root.client("budgets").delete_budget, AccountId=_account(), BudgetName=name)


class Schedule:
    """AWS::Scheduler::Schedule; ministack's own handler drops the time zone. Physical id: its name."""

    MEMBERS: Final = (
        "ActionAfterCompletion",
        "Description",
        "EndDate",
        "FlexibleTimeWindow",
        "GroupName",
        "Name",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "StartDate",
        "State",
        "Target",
    )

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the schedule."""
        arn = root.client("scheduler").create_schedule(**pick(properties, *cls.MEMBERS))["ScheduleArn"]
        return properties["Name"], {"Arn": arn}

    @classmethod
    def update(cls, name: str, old: Properties, new: Properties, stack: str) -> Created:
        """Change the schedule; another name or group replaces it."""
        if (old.get("GroupName"), name) != (new.get("GroupName"), new["Name"]):  # AWS replaces it
            replacement = cls.create("", new, stack)
            cls.delete(name, old)
            return replacement
        return name, {"Arn": root.client("scheduler").update_schedule(**pick(new, *cls.MEMBERS))["ScheduleArn"]}

    @staticmethod
    def delete(name: str, properties: Properties) -> None:
        """Delete the schedule; it may be gone already."""
        unless_gone(root.client("scheduler").delete_schedule, Name=name, **pick(properties, "GroupName"))


class QueryDefinition:
    """AWS::Logs::QueryDefinition; physical id: the id that the service gave."""

    @staticmethod
    def create(_logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the saved query."""
        name = root.client("logs").put_query_definition(**lower_first(properties))["queryDefinitionId"]
        return name, {"QueryDefinitionId": name}

    @staticmethod
    def update(name: str, _old: Properties, new: Properties, _stack: str) -> Created:
        """Change the saved query."""
        root.client("logs").put_query_definition(queryDefinitionId=name, **lower_first(new))
        return name, {"QueryDefinitionId": name}

    @staticmethod
    def delete(name: str, _properties: Properties) -> None:
        """Delete the saved query; it may be gone already."""
        unless_gone(root.client("logs").delete_query_definition, queryDefinitionId=name)


class Trail:
    """AWS::CloudTrail::Trail; physical id: its name."""

    MEMBERS: Final = ("S3BucketName", "S3KeyPrefix", "IncludeGlobalServiceEvents", "IsMultiRegionTrail")

    @classmethod
    def _options(cls, properties: Properties) -> dict[str, Any]:
        validate = properties.get("EnableLogFileValidation", False)
        return pick(properties, *cls.MEMBERS) | {"Name": properties["TrailName"], "EnableLogFileValidation": validate}

    @staticmethod
    def _log(name: str, properties: Properties) -> None:
        cloudtrail = root.client("cloudtrail")
        if properties["IsLogging"]:
            cloudtrail.start_logging(Name=name)
        else:
            cloudtrail.stop_logging(Name=name)

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the trail. Start or stop its logging."""
        trail = root.client("cloudtrail").create_trail(**cls._options(properties), TagsList=properties.get("Tags", []))
        cls._log(trail["Name"], properties)
        return trail["Name"], {"Arn": trail["TrailARN"]}

    @classmethod
    def update(cls, name: str, _old: Properties, new: Properties, _stack: str) -> Created:
        """Change the trail."""
        trail = root.client("cloudtrail").update_trail(**cls._options(new))
        cls._log(name, new)
        return name, {"Arn": trail["TrailARN"]}

    @staticmethod
    def delete(name: str, _properties: Properties) -> None:
        """Delete the trail; it may be gone already."""
        unless_gone(root.client("cloudtrail").delete_trail, Name=name)


_ALARM_OF_ONE_METRIC: Final = (
    "Namespace",
    "MetricName",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Dimensions",
    "Unit",
)


def _alarm_record(
    record_of: Callable[[str, Properties], dict[str, Any]], name: str, properties: Properties
) -> dict[str, Any]:
    """Return ministack's record of an alarm; one on metric math is stored and shown, and never evaluated."""
    if not properties.get("Metrics"):
        return record_of(name, properties)
    plain = {key: value for key, value in properties.items() if key != "Metrics"}
    record = record_of(name, plain | {"Namespace": "-", "MetricName": "-"})
    for member in _ALARM_OF_ONE_METRIC:
        del record[member]
    return record | {"Metrics": properties["Metrics"]}


PATCHES: Final = (
    *new_type("AWS::Budgets::Budget", Budget, "ministack has no handler", tags="ResourceTags"),
    *new_type("AWS::Scheduler::Schedule", Schedule, "ministack's handler drops the time zone", tags=None),
    replace_handler("AWS::Scheduler::Schedule", "update_with_logical_id", False, "our update takes no logical id"),
    *new_type("AWS::Logs::QueryDefinition", QueryDefinition, "ministack has no handler", tags=None),
    *new_type("AWS::CloudTrail::Trail", Trail, "ministack has no handler"),
    wrap(provisioners, "_cw_metric_alarm_record", _alarm_record, "alarms on metric math are refused"),
)
