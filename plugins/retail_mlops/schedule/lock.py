"""Who may change the environment: the record in the lake is the lock of `scale_down` and `scale_up`.

A run takes it by a conditional write, waits while another living run has it, and takes over that of a run that ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from airflow.sdk import Context

from include import lake
from include.settings import settings
from retail_mlops.common.environment_state import is_run_alive, read_record
from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import wait_until
from retail_mlops.common.scale_record import Phase, Record
from retail_mlops.hooks.s3_lake import LakeHook

LOCK_TIMEOUT: Final = 3600.0
"""Seconds to wait for a deploy, or for the other of the two DAGs."""
WRITE_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to take the record: the record, or the run that has it, or neither."""

    record: Record | None = None
    held_by: str = ""


def owner_of(context: Context) -> str:
    return f"{context['ti'].dag_id}/{context['ti'].run_id}"


def acquire_lock(context: Context, phase: Phase) -> Record | None:
    """Take the record when no other living run has it; make a claim if there is no record and we go down.

    None: there is no record, and nothing to claim. RetailError when the run that has it does not end.
    """
    hours = LOCK_TIMEOUT / 3600
    attempt = wait_until(
        lambda: _attempt(context, phase),
        lambda attempt: attempt.held_by,
        timeout=LOCK_TIMEOUT,
        poll=settings().poll_seconds,
        timeout_error=lambda attempt: RetailError(
            f"{attempt.held_by} and did not end within {hours:.0f} h: end or fix it, then run this again"
        ),
    )
    return attempt.record


def _attempt(context: Context, phase: Phase) -> Attempt:
    for _ in range(WRITE_ATTEMPTS):  # a conditional write fails only when another run has just written: look again
        record, tag = read_record()
        if record is None and phase is Phase.COMING_UP:
            return Attempt()
        if record and record.owner != owner_of(context) and is_run_alive(context, record.owner):
            return Attempt(held_by=f"{record.owner} is under way ({record.phase})")
        if record:
            own = record.with_owner(owner_of(context), phase)
        else:
            own = Record(phase=Phase.CLAIMED, owner=owner_of(context))
        if LakeHook().replace_document(lake.SCALED_DOWN, own.model_dump(mode="json"), tag):
            return Attempt(record=own)
    return Attempt(held_by="another run, which writes the record at the same time")


def require_lock(context: Context) -> Record:
    """Return the record, which this run owns; RetailError when another run took or removed it meanwhile."""
    record, _ = read_record()
    if record is None or record.owner != owner_of(context):
        raise RetailError(
            f"s3://{settings().bucket}/{lake.SCALED_DOWN} is {'gone' if record is None else f'now of {record.owner}'}: "
            "another run changes the environment, so this one stops here"
        )
    return record


def save_record(record: Record, **changes: Any) -> Record:
    """Write the record with these changes; return it."""
    changed = record.model_copy(update=changes)
    LakeHook().put_document(lake.SCALED_DOWN, changed.model_dump(mode="json"))
    return changed


def release_claim(record: Record) -> None:
    """Remove a claim that nothing was recorded for: it must not keep `deploy` waiting."""
    if record.state is None:
        release_lock()


def release_lock() -> None:
    """Remove the record: `deploy` may go on."""
    LakeHook().remove([lake.SCALED_DOWN])
