"""Deploys a stack of infra/ by change set: creates it, updates it, or finds it up to date."""

import datetime as dt
import time
from typing import Any, Final

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import AirflowException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from include.settings import settings
from retail_mlops.common.errors import RetailError
from retail_mlops.common.names import run_digest
from retail_mlops.common.stacks import principal, stack_of
from retail_mlops.hooks.aws_errors import explain_expired_credentials
from retail_mlops.hooks.change_sets import table
from retail_mlops.hooks.cloudformation import DELETED, REVIEWED, ChangeSet, Stack, StackHook
from retail_mlops.operators.approval import APPROVE, NOBODY, REJECT
from retail_mlops.triggers.cloudformation import StackTrigger

MAX_WAIT: Final = 3600
"""Seconds; a cluster with its node group takes about fifteen minutes."""
POLL_IN_TASK: Final = 0.2
"""Seconds between two looks at a stack while the task itself waits."""
_WAITERS: Final = {"CREATE": "CREATE", "ROLLBACK": "CREATE", "UPDATE": "UPDATE", "DELETE": "DELETE", "IMPORT": "IMPORT"}
"""First word of a status that is in progress → the waiter for its end."""


class DeployStackOperator(AwsBaseOperator[StackHook]):
    """Creates or updates a stack; the provider's operators create and delete without waiting, and cannot update.

    component: name of infra/<component>.yaml; dry_run_param: name of the DAG's Param that asks for the change set
    only. Asks a person (Required Actions; no answer is a no) before a change that may remove a bucket, cluster,
    repository or package group. A failure lists the resources that failed.
    """

    aws_hook_class = StackHook
    template_fields = aws_template_fields()
    ui_color = "#f6e7d2"

    def __init__(self, *, component: str, dry_run_param: str = "dry_run", **options: Any) -> None:
        super().__init__(region_name=settings().region, **options)
        self.component = component
        self.dry_run_param = dry_run_param

    def execute(self, context: Context) -> None:
        with explain_expired_credentials(self.aws_conn_id):
            if context["params"][self.dry_run_param]:
                self._dry_run(context)
            else:
                self._deploy(context)

    def execute_again(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Continue after an operation that was in progress when this task started."""
        self.execute(context)

    def execute_answer(self, context: Context, event: dict[str, Any], kind: str) -> None:
        """Continue after a person has answered, or nobody has in time, which is a no."""
        name, change_set = settings().stack(self.component), self._change_set(context)
        user, reason = event.get("responded_by_user") or {}, (event.get("params_input") or {}).get("reason") or "-"
        who = user.get("name") or user.get("id") or NOBODY
        with explain_expired_credentials(self.aws_conn_id):
            if event.get("chosen_options") != [APPROVE]:
                self.hook.delete_change_set(name, change_set)
                raise RetailError(f"the replacement in {name} was not approved (answered by {who}; reason: {reason})")
            self.log.info("Approved by %s; reason: %s", who, reason)
            self.hook.execute_change_set(name, change_set)
            self._finish(kind, name)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Fail with the resources that failed, unless the operation succeeded."""
        if event["status"] == "success":
            return
        name = event["stack_name"]
        with explain_expired_credentials(self.aws_conn_id):
            status = self.hook.status(name)
            if status and status.endswith("_IN_PROGRESS"):
                raise AirflowException(f"stack {name} is still {status}: {event.get('message')}")
            raise RetailError(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name)))

    def _dry_run(self, context: Context) -> None:
        stack = self._stack()
        self.log.info("Dry run: %s", self.hook.plan(stack, self._change_set(context), settings().poll_seconds))
        self._log_drift(stack.name)

    def _deploy(self, context: Context) -> None:
        stack, change_set = self._stack(), self._change_set(context)
        status = self.hook.status(stack.name) or ""
        if status.endswith("_IN_PROGRESS") and status != REVIEWED:
            self.log.info("%s is %s: waiting for its end first", stack.name, status)
            self._defer(_WAITERS[status.partition("_")[0]], stack.name, "execute_again")
        if gone := [line for line in self._log_drift(stack.name) if line.endswith(DELETED)]:
            raise RetailError(
                f"{stack.name}: {'; '.join(gone)} by hand, and CloudFormation does not notice. Make it again under "
                f"the same name, or delete {stack.name} with the stacks that import from it; then run provision again"
            )
        prepared = self.hook.open_change_set(stack, change_set, settings().poll_seconds)
        if prepared is None:
            self.log.info("%s is up to date", stack.name)
            return
        self.log.info("%s: %s\n%s", stack.name, prepared.kind.lower(), table(prepared.changes))
        if any(change.needs_approval for change in prepared.changes):
            self._ask(context, stack.name, prepared)
        self.hook.execute_change_set(stack.name, change_set)
        self._finish(prepared.kind, stack.name)

    def _log_drift(self, name: str) -> list[str]:
        """Log and return what was changed by hand. An update reverts only what it changes anyway."""
        drifted = self.hook.drift(name, settings().poll_seconds)
        if drifted:
            self.log.warning("Changed by hand in %s, and left as it is:\n%s", name, "\n".join(drifted))
        return drifted

    def _ask(self, context: Context, name: str, prepared: ChangeSet) -> None:
        """Wait for a person who has seen the change set: this very change set is executed then."""
        protected = [change for change in prepared.changes if change.needs_approval]
        names = ", ".join(f"{change.name} ({change.type})" for change in protected)
        reason = Param("", type="string", title="Reason", description="kept in the task's log", source="task")
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[APPROVE, REJECT],
            defaults=[REJECT],
            subject=f"{name}: replace or remove {names}?",
            body=f"Its contents may be lost. Without an answer nothing is changed.\n\n{table(protected)}\n\n"
            f"The whole change set:\n\n{table(prepared.changes)}",
            params={"reason": reason.serialize()},
        )
        minutes = settings().approval_timeout_minutes
        self.log.info("Waiting for an approval, at most %s minutes (Browse, Required Actions): %s", minutes, names)
        raise TaskAwaitingInput(
            method_name="execute_answer", kwargs={"kind": prepared.kind}, timeout=dt.timedelta(minutes=minutes)
        )

    def _stack(self) -> Stack:
        return stack_of(self.component, admin=principal(self.aws_conn_id))

    def _change_set(self, context: Context) -> str:
        ti = context["ti"]
        return f"run-{run_digest(ti.dag_id, ti.run_id)}-{ti.try_number}"

    def _finish(self, kind: str, name: str) -> None:
        """Wait for the end of an operation: a while in the task, for a small stack is done at once; then deferred."""
        until = time.monotonic() + settings().wait_in_task_seconds
        while time.monotonic() < until:
            status = self.hook.status(name) or "gone"
            if not status.endswith("_IN_PROGRESS"):
                return self._require_status(name, status, f"{kind}_COMPLETE")
            time.sleep(POLL_IN_TASK)
        self._defer(kind, name, "execute_complete")

    def _require_status(self, name: str, status: str, wanted: str) -> None:
        if status != wanted:
            raise RetailError(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name)))

    def _defer(self, kind: str, name: str, method: str) -> None:
        poll = settings().poll_seconds
        self.defer(
            trigger=StackTrigger(
                stack_name=name,
                kind=kind,
                waiter_delay=poll,
                waiter_max_attempts=MAX_WAIT // poll,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
            ),
            method_name=method,
        )
