"""Typed access to what a task leaves for later tasks of its run (XCom)."""

from functools import cached_property
from typing import Any, Generic, TypeVar

from airflow.sdk import Context
from pydantic import TypeAdapter

from retail_mlops.common.errors import RetailError

Value = TypeVar("Value")
RETURN_VALUE = "return_value"


class TaskOutput(Generic[Value]):
    """The output of one task: its task id and its type, which is validated when it is read.

    type_: what `pydantic` can validate: a frozen dataclass, a model, str, … ; key: another key than the return value's.
    """

    def __init__(self, task_id: str, type_: Any, key: str = RETURN_VALUE) -> None:
        self.task_id = task_id
        self.key = key
        self._type = type_

    @cached_property
    def _adapter(self) -> TypeAdapter[Value]:
        return TypeAdapter(self._type)

    def dump(self, value: Value) -> dict[str, Any]:
        """Return a dataclass or model as plain JSON types, for the task to return."""
        document: dict[str, Any] = self._adapter.dump_python(value, mode="json")
        return document

    def load(self, value: Any) -> Value:
        """Return the typed value of what a task returned, as Airflow hands it to another task."""
        return self._adapter.validate_python(value)

    def find(self, context: Context) -> Value | None:
        """Return the output; None when the task left none."""
        value = context["ti"].xcom_pull(task_ids=self.task_id, key=self.key)
        return None if value is None else self.load(value)

    def pull(self, context: Context) -> Value:
        """Return the output; RetailError when the task left none."""
        value = self.find(context)
        if value is None:
            raise RetailError(f"task {self.task_id} left no output: clear it and the tasks after it")
        return value

    def template(self, field: str = "") -> str:
        """Return the Jinja expression of the output, or of one field of it, for a templated field of an operator."""
        key = "" if self.key == RETURN_VALUE else f", key='{self.key}'"
        index = f"['{field}']" if field else ""
        return f"{{{{ ti.xcom_pull(task_ids='{self.task_id}'{key}){index} }}}}"
