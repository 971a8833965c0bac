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


@dataclass(frozen=True)
class Answer:
    """What was decided; `by` is None when nobody answered in time."""

    choice: str
    by: str | None
    at: str
    reason: str

    @property
    def approved(self) -> bool:
        return self.choice == APPROVE


class DecisionOperator(HITLOperator):
    """Two differences from the provider's ApprovalOperator: the time to answer comes from a Param of the run (the
    provider templates only subject and body), and a rejection skips nothing, because the next task records both
    answers. Returns an Answer as a dict.

    timeout_param: name of the DAG's Param that holds the minutes to wait; kept: what becomes of the answer's reason.
    """

    def __init__(
        self,
        *,
        timeout_param: str,
        kept: str = "kept with the model package",
        params: ParamsDict | None = None,
        **options: Any,
    ) -> None:
        params = copy.copy(params) or ParamsDict()  # Airflow hands in the DAG's own, which the form does not show
        params["reason"] = Param("", type="string", title="Reason", description=kept, source="task")
        super().__init__(options=[APPROVE, REJECT], defaults=[REJECT], params=params, **options)
        self.timeout_param = timeout_param

    def execute(self, context: Context) -> None:
        self.response_timeout = dt.timedelta(minutes=float(context["params"][self.timeout_param]))
        self.log.info("without an answer within %s it is %s", self.response_timeout, REJECT)
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        given = super().execute_complete(context, event)
        user = given["responded_by_user"]
        answer = Answer(
            choice=given["chosen_options"][0],
            by=(user.get("name") or user.get("id")) if user else None,
            at=given["responded_at"].isoformat(timespec="seconds"),
            reason=(given["params_input"] or {}).get("reason", ""),
        )
        self.log.info("%s by %s", answer.choice, answer.by or "nobody: time is up")
        return asdict(answer)
