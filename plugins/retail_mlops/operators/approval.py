"""Asks a person to approve or reject; no answer in time is a rejection."""

import copy
import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any, Final

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param
from airflow.sdk.definitions.param import ParamsDict

APPROVE: Final = "Approve"
REJECT: Final = "Reject"
NOBODY: Final = "nobody: the time to answer is over"


@dataclass(frozen=True)
class Answer:
    """The answer of a person; `by` is None when nobody answered in time."""

    choice: str
    by: str | None
    at: str
    reason: str

    @property
    def approved(self) -> bool:
        return self.choice == APPROVE


class DecisionOperator(HITLOperator):
    """Differs from the provider's ApprovalOperator in two ways.

    The time to answer comes from a Param of the run (the provider templates only subject and body), and a rejection
    skips nothing, because the next task records both answers. Returns an Answer as a dict.

    timeout_param: name of the DAG's Param that holds the minutes to wait; reason_help: where the reason is kept.
    """

    def __init__(
        self,
        *,
        timeout_param: str,
        reason_help: str = "kept with the model package",
        params: ParamsDict | None = None,
        **options: Any,
    ) -> None:
        params = copy.copy(params) or ParamsDict()  # a copy: Airflow passes the DAG's own
        params["reason"] = Param("", type="string", title="Reason", description=reason_help, source="task")
        super().__init__(options=[APPROVE, REJECT], defaults=[REJECT], params=params, **options)
        self.timeout_param = timeout_param

    def execute(self, context: Context) -> None:
        self.response_timeout = dt.timedelta(minutes=float(context["params"][self.timeout_param]))
        self.log.info("Waiting for an answer; without one within %s it is %s", self.response_timeout, REJECT)
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        response = super().execute_complete(context, event)
        user = response["responded_by_user"]
        answer = Answer(
            choice=response["chosen_options"][0],
            by=(user.get("name") or user.get("id")) if user else None,
            at=response["responded_at"].isoformat(timespec="seconds"),
            reason=(response["params_input"] or {}).get("reason", ""),
        )
        self.log.info("%s by %s", answer.choice, answer.by or NOBODY)
        return asdict(answer)
