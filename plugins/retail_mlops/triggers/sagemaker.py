"""Waits for a SageMaker job, and stops it when a person kills the waiting task."""

import asyncio
from typing import Any, Final

from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger
from botocore.exceptions import ClientError

STOP: Final = {"Training": "stop_training_job", "Processing": "stop_processing_job"}
NAME: Final = {"Training": "TrainingJobName", "Processing": "ProcessingJobName"}

_STOPPING: Final[set[asyncio.Task[None]]] = set()
"""Requests to stop a job that are under way: the event loop keeps no reference to its tasks."""


def already_over(error: ClientError) -> bool:
    """Return whether SageMaker refused to stop a job because it has ended."""
    return error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound")


class StoppingJobTrigger(SageMakerTrigger):
    """Stops the job of a killed task; the provider's trigger has no `on_kill` and would leave it running and billed.

    Airflow calls `on_kill` only for what a person does (mark failed, mark success, clear), never when the triggerer
    restarts.
    """

    async def on_kill(self) -> None:
        # Airflow 3.3.2 cancels a killed trigger anew in each round of the triggerer, a second apart, and `on_kill` with
        # it: less time than AWS needs for a role and a stop. So the stop is a task of its own, which nobody cancels.
        stop = asyncio.create_task(self._stop())
        _STOPPING.add(stop)
        stop.add_done_callback(_STOPPING.discard)
        await asyncio.shield(stop)

    async def _stop(self) -> None:
        self.log.info("Stopping %s job %s: its task was killed", self.job_type, self.job_name)
        request: dict[str, Any] = {NAME[self.job_type]: self.job_name}
        async with await self.hook().get_async_conn() as client:
            try:
                await getattr(client, STOP[self.job_type])(**request)
            except ClientError as error:
                if not already_over(error):
                    raise
