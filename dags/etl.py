"""# etl

One shop week from its raw file to gold: **raw_landed** → **plan** → **build**, a job that cleans `raw/` to `silver/`
and splits that to `gold/` → **publish**. A run's partition key is its week (`YYYYWW`, the retailer's fiscal week);
weeks run independently of each other, four at a time.

Start it from the UI (Trigger: partition key below *Advanced Options*; or *Backfill* a range of dates), by
`airflow backfill create --dag-id etl --from-date 2006-04-10 --to-date 2006-04-24`, or by REST with `"partition_key"`.

- Waits for the raw file, at most two hours.
- **Writes nothing when gold is already built from that very file.** `force` builds it again.
- Raw files are immutable: a file that is not the one gold was built from is refused, unless `accept_new_raw` says that
  the new version is meant.
- The job writes to `tmp/`; publishing copies gold's manifest last, and readers follow manifests only.
- Killing a task stops its job.
"""

import datetime as dt

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import Param, chain, task

from include.settings import PARALLEL_WEEKS, TIMEZONE, settings
from retail_mlops.common.dag_defaults import AIRFLOW, GOLD, Tag, local_midnight, retail_dag
from retail_mlops.etl import tasks
from retail_mlops.etl.timetable import ShopWeekTimetable
from retail_mlops.operators.sagemaker import ProcessingJobOperator


@retail_dag(
    schedule=ShopWeekTimetable("0 0 * * 1", timezone=TIMEZONE),
    start_date=local_midnight(2006, 2, 27),
    end_date=local_midnight(2008, 7, 6),  # the data's last day: no automatic runs after it, backfills go on
    tags=[Tag.DATA],
    max_active_runs=PARALLEL_WEEKS,
    params={
        "accept_new_raw": Param(
            False, type="boolean", title="Accept a new raw file", description="build from it although gold has another"
        ),
        "force": Param(False, type="boolean", title="Force", description="build again although nothing changed"),
    },
    doc_md=__doc__,
)
def etl() -> None:
    landed = S3KeySensor(
        task_id="raw_landed",
        bucket_name=settings().bucket,
        bucket_key=tasks.raw_pattern,
        wildcard_match=True,
        deferrable=True,
        poke_interval=settings().poll_seconds,
        timeout=dt.timedelta(hours=2).total_seconds(),
        retries=0,  # a second wait of two hours would only be longer
        aws_conn_id=AIRFLOW,
        region_name=settings().region,
    )
    planned = task(tasks.plan)()
    build = ProcessingJobOperator(task_id="build", config=tasks.build_request)
    published = task(tasks.publish, outlets=[GOLD])(build.output)
    chain(landed, planned, build, published)


etl()
