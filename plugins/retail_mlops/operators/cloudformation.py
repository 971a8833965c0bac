"""Deploys a stack of infra/: creates or updates it by change set, or finds that nothing has to change."""

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
from retail_mlops.common.stacks import principal, stack
from retail_mlops.hooks.change_sets import table
from retail_mlops.hooks.cloudformation import DELETED, REVIEWED, ChangeSet, Stack, StackHook, readable
from retail_mlops.operators.approval import APPROVE, REJECT
from retail_mlops.triggers.cloudformation import StackTrigger

LONGEST_WAIT: Final = 3600
"""Seconds; a cluster with its node group takes about fifteen minutes."""
LOOK_SECONDS: Final = 0.2
"""Between two looks at a stack while its task itself waits."""
_WAITERS: Final = {"CREATE": "CREATE", "ROLLBACK": "CREATE", "UPDATE": "UPDATE", "DELETE": "DELETE", "IMPORT": "IMPORT"}
"""First word of a status that is in progress: whose end to wait for."""


class DeployStackOperator(AwsBaseOperator[StackHook]):
    """The provider creates and deletes stacks, without waiting, and cannot update one.

    component: name of infra/<component>.yaml; dry_run_param: name of the DAG's Param that asks for the change set
    only. Asks a person (Required Actions; no answer is a no) before a change that may take away a bucket, cluster,
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
        with readable(self.aws_conn_id):
            self._plan(context) if context["params"][self.dry_run_param] else self._deploy(context)

    def execute_again(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """What somebody else had begun is over: now this run's own."""
        self.execute(context)

    def execute_answer(self, context: Context, event: dict[str, Any], kind: str) -> None:
        """A person has answered, or nobody in time, which is a no."""
        name, change_set = settings().stack(self.component), self._change_set(context)
        user, reason = event.get("responded_by_user") or {}, (event.get("params_input") or {}).get("reason") or "-"
        who = user.get("name") or user.get("id") or "nobody in time"
        with readable(self.aws_conn_id):
            if event.get("chosen_options") != [APPROVE]:
                self.hook.forget(name, change_set)
                raise RetailError(f"the replacement in {name} was not approved (answered by {who}; reason: {reason})")
            self.log.info("approved by %s; reason: %s", who, reason)
            self.hook.execute_change_set(name, change_set)
            self._finish(kind, name)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        if event["status"] == "success":
            return
        name = event["stack_name"]
        with readable(self.aws_conn_id):
            status = self.hook.status(name)
            if status and status.endswith("_IN_PROGRESS"):
                raise AirflowException(f"stack {name} is still {status}: {event.get('message')}")
            raise RetailError(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name)))

    def _plan(self, context: Context) -> None:
        wanted = self._stack()
        self.log.info("dry run: %s", self.hook.plan(wanted, self._change_set(context), settings().poll_seconds))
        self._drift(wanted.name)

    def _deploy(self, context: Context) -> None:
        wanted, change_set = self._stack(), self._change_set(context)
        status = self.hook.status(wanted.name) or ""
        if status.endswith("_IN_PROGRESS") and status != REVIEWED:
            self.log.info("%s is %s: waiting for that first", wanted.name, status)
            self._defer(_WAITERS[status.partition("_")[0]], wanted.name, "execute_again")
        if gone := [line for line in self._drift(wanted.name) if line.endswith(DELETED)]:
            raise RetailError(
                f"{wanted.name}: {'; '.join(gone)} by hand, and CloudFormation does not notice. Make it again under "
                f"the same name, or delete {wanted.name} with the stacks that import from it; then run provision again"
            )
        found = self.hook.open_change_set(wanted, change_set, settings().poll_seconds)
        if found is None:
            self.log.info("%s is up to date", wanted.name)
            return
        self.log.info("%s: %s\n%s", wanted.name, found.kind.lower(), table(found.changes))
        if any(change.needs_a_person for change in found.changes):
            self._ask(context, wanted.name, found)
        self.hook.execute_change_set(wanted.name, change_set)
        self._finish(found.kind, wanted.name)

    def _drift(self, name: str) -> list[str]:
        """Tells what was changed by hand. An update sets right only what it changes anyway: the rest is a person's."""
        drifted = self.hook.drift(name, settings().poll_seconds)
        if drifted:
            self.log.warning("drift of %s, which stays as it is:\n%s", name, "\n".join(drifted))
        return drifted

    def _ask(self, context: Context, name: str, found: ChangeSet) -> None:
        """Parks the task until a person has seen the change set. It is this change set that is executed then."""
        concerned = [change for change in found.changes if change.needs_a_person]
        names = ", ".join(f"{change.name} ({change.type})" for change in concerned)
        reason = Param("", type="string", title="Reason", description="kept in the task's log", source="task")
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[APPROVE, REJECT],
            defaults=[REJECT],
            subject=f"{name}: replace or remove {names}?",
            body=f"What it holds may be lost. Without an answer it stays.\n\n{table(concerned)}\n\nThe whole change "
            f"set:\n\n{table(found.changes)}",
            params={"reason": reason.serialize()},
        )
        minutes = settings().approval_timeout_minutes
        self.log.info("waiting for a person, at most %s minutes (Browse, Required Actions): %s", minutes, names)
        raise TaskAwaitingInput(
            method_name="execute_answer", kwargs={"kind": found.kind}, timeout=dt.timedelta(minutes=minutes)
        )

    def _stack(self) -> Stack:
        return stack(self.component, admin=principal(self.aws_conn_id))

    def _change_set(self, context: Context) -> str:
        ti = context["ti"]
        return f"run-{run_digest(ti.dag_id, ti.run_id)}-{ti.try_number}"

    def _finish(self, kind: str, name: str) -> None:
        """Wait for what was executed: a while here, as a small stack is over at once; then with a trigger."""
        until = time.monotonic() + settings().wait_in_task_seconds
        while time.monotonic() < until:
            status = self.hook.status(name) or "gone"
            if not status.endswith("_IN_PROGRESS"):
                return self._assert_good(name, status, f"{kind}_COMPLETE")
            time.sleep(LOOK_SECONDS)
        self._defer(kind, name, "execute_complete")

    def _assert_good(self, name: str, status: str | None, wanted: str) -> None:
        if status != wanted:
            raise RetailError(f"stack {name} is {status}:\n" + "\n".join(self.hook.failures(name)))

    def _defer(self, kind: str, name: str, method: str) -> None:
        poll = settings().poll_seconds
        self.defer(
            trigger=StackTrigger(
                stack_name=name,
                kind=kind,
                waiter_delay=poll,
                waiter_max_attempts=LONGEST_WAIT // poll,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
            ),
            method_name=method,
        )
