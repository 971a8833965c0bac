"""Resource types of the observability, budget and audit stacks that ministack lacks or does by half.

They are made through the services' own APIs. Budgets never fire and a trail delivers no file, since nothing here costs
anything or keeps such records; schedules with universal targets act (`local.aws.schedules`).
"""

from typing import Any

from ministack.services.cloudformation import provisioners

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below; adds an API
from local.aws import root
from local.aws.cloudformation.resources import Made, Properties, handlers, lower, register, unless_gone
from local.aws.cloudwatch import saved_queries as queries  # noqa: F401 - asserts the private names used below; adds an API


def _account() -> str:
    return root.client("sts").get_caller_identity()["Account"]


def _given(properties: Properties, *names: str) -> dict[str, Any]:
    return {name: properties[name] for name in names if name in properties}


class Budget:
    """AWS::Budgets::Budget; physical id: its name. Other notifications replace it, which needs another name."""

    @staticmethod
    def _budget(properties: Properties) -> Properties:
        limit = properties["Budget"]["BudgetLimit"]
        return properties["Budget"] | {"BudgetLimit": {"Amount": str(limit["Amount"]), "Unit": limit["Unit"]}}

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Made:
        root.client("budgets").create_budget(
            AccountId=_account(),
            Budget=cls._budget(properties),
            NotificationsWithSubscribers=properties.get("NotificationsWithSubscribers", []),
            ResourceTags=properties.get("ResourceTags", []),
        )
        return properties["Budget"]["BudgetName"], {}

    @classmethod
    def update(cls, name: str, old: Properties, new: Properties, stack: str) -> Made:
        told = "NotificationsWithSubscribers"
        if new["Budget"]["BudgetName"] != name or new.get(told) != old.get(told):
            made = cls.create("", new, stack)  # DuplicateRecordException, as on AWS, when only the notifications differ
            cls.delete(name, old)
            return made
        root.client("budgets").update_budget(AccountId=_account(), NewBudget=cls._budget(new))
        return name, {}

    @staticmethod
    def delete(name: str, _properties: Properties) -> None:
        unless_gone(root.client("budgets").delete_budget, AccountId=_account(), BudgetName=name)


class Schedule:
    """AWS::Scheduler::Schedule; ministack's own handler drops the time zone. Physical id: its name."""

    MEMBERS = (
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
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Made:
        arn = root.client("scheduler").create_schedule(**_given(properties, *cls.MEMBERS))["ScheduleArn"]
        return properties["Name"], {"Arn": arn}

    @classmethod
    def update(cls, name: str, old: Properties, new: Properties, stack: str) -> Made:
        if (old.get("GroupName"), name) != (new.get("GroupName"), new["Name"]):  # AWS replaces it
            made = cls.create("", new, stack)
            cls.delete(name, old)
            return made
        return name, {"Arn": root.client("scheduler").update_schedule(**_given(new, *cls.MEMBERS))["ScheduleArn"]}

    @staticmethod
    def delete(name: str, properties: Properties) -> None:
        unless_gone(root.client("scheduler").delete_schedule, Name=name, **_given(properties, "GroupName"))


class QueryDefinition:
    """AWS::Logs::QueryDefinition; physical id: the id that the service gave."""

    @staticmethod
    def create(_logical_id: str, properties: Properties, _stack: str) -> Made:
        name = root.client("logs").put_query_definition(**lower(properties))["queryDefinitionId"]
        return name, {"QueryDefinitionId": name}

    @staticmethod
    def update(name: str, _old: Properties, new: Properties, _stack: str) -> Made:
        root.client("logs").put_query_definition(queryDefinitionId=name, **lower(new))
        return name, {"QueryDefinitionId": name}

    @staticmethod
    def delete(name: str, _properties: Properties) -> None:
        unless_gone(root.client("logs").delete_query_definition, queryDefinitionId=name)


class Trail:
    """AWS::CloudTrail::Trail; physical id: its name."""

    MEMBERS = ("S3BucketName", "S3KeyPrefix", "IncludeGlobalServiceEvents", "IsMultiRegionTrail")

    @classmethod
    def _options(cls, properties: Properties) -> dict[str, Any]:
        validate = properties.get("EnableLogFileValidation", False)
        return _given(properties, *cls.MEMBERS) | {"Name": properties["TrailName"], "EnableLogFileValidation": validate}

    @staticmethod
    def _log(name: str, properties: Properties) -> None:
        cloudtrail = root.client("cloudtrail")
        (cloudtrail.start_logging if properties["IsLogging"] else cloudtrail.stop_logging)(Name=name)

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Made:
        made = root.client("cloudtrail").create_trail(**cls._options(properties), TagsList=properties.get("Tags", []))
        cls._log(made["Name"], properties)
        return made["Name"], {"Arn": made["TrailARN"]}

    @classmethod
    def update(cls, name: str, _old: Properties, new: Properties, _stack: str) -> Made:
        made = root.client("cloudtrail").update_trail(**cls._options(new))
        cls._log(name, new)
        return name, {"Arn": made["TrailARN"]}

    @staticmethod
    def delete(name: str, _properties: Properties) -> None:
        unless_gone(root.client("cloudtrail").delete_trail, Name=name)


register("AWS::Budgets::Budget", Budget, tags="ResourceTags")
register("AWS::Scheduler::Schedule", Schedule, tags=None)
register("AWS::Logs::QueryDefinition", QueryDefinition, tags=None)
register("AWS::CloudTrail::Trail", Trail)
handlers("AWS::Scheduler::Schedule").pop("update_with_logical_id", None)

# --- AWS::CloudWatch::Alarm on metric math: ministack refuses it; here it is kept and shown, and never evaluated ---
_alarm_of = provisioners._cw_metric_alarm_record


def _alarm(name: str, properties: Properties) -> dict[str, Any]:
    if not properties.get("Metrics"):
        return _alarm_of(name, properties)
    plain = {key: value for key, value in properties.items() if key != "Metrics"}
    record = _alarm_of(name, plain | {"Namespace": "-", "MetricName": "-"})
    for member in ("Namespace", "MetricName", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit"):
        del record[member]
    return record | {"Metrics": properties["Metrics"]}


provisioners._cw_metric_alarm_record = _alarm
