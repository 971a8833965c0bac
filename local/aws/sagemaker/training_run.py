"""Run a training job: channels in, model.tar.gz and metrics out."""

import logging
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.sagemaker import job_data
from local.aws.sagemaker.job_run import HOST, Failed, Run, command_of, resource_config
from local.aws.sagemaker.job_state import TRAINING
from local.aws.sagemaker.protocol import now

log = logging.getLogger(__name__)


class TrainingRun(Run):
    """The work on one training job."""

    def work(self) -> None:
        """Download the channels, run the command, upload model and metrics."""
        request, specification = self.job.request, self.job.request["AlgorithmSpecification"]
        s3 = self.client("s3")
        self.step("Downloading", "Downloading input data")
        recipe = self.pull(specification["TrainingImage"])
        self._create_folders()
        for channel in request.get("InputDataConfig", []):
            source = channel["DataSource"]["S3DataSource"]
            folder = self.base / "input/data" / channel["ChannelName"]
            job_data.download(s3, source["S3Uri"], source["S3DataType"], folder)
        self.job.begin()
        if self.job.stop.reason:
            return
        self.step("Training", "Training image download completed. Training in progress.")
        metrics = {metric["Name"]: metric["Regex"] for metric in specification.get("MetricDefinitions", [])}
        target = request["OutputDataConfig"]["S3OutputPath"].rstrip("/") + f"/{self.job.name}/output"
        try:
            self.execute(recipe, command_of(recipe, specification, ["train"]), metrics)
        except Failed:  # its output explains it
            with suppress(job_data.DataError):
                self._upload_archive(s3, "output/data", f"{target}/output.tar.gz")
            raise
        self._upload_archive(s3, "output/data", f"{target}/output.tar.gz")
        self.step("Uploading", "Uploading generated training model")
        self._upload_archive(s3, "model", f"{target}/model.tar.gz")
        self._publish_metrics()

    def _create_folders(self) -> None:
        """Create the folders and configuration files that a training container finds."""
        request, config = self.job.request, self.base / "input/config"
        for name in ("model", "output/data", "code"):
            (self.base / name).mkdir(parents=True)
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in request.get("InputDataConfig", [])
        }
        self.write_config(config, "hyperparameters", request.get("HyperParameters", {}))
        self.write_config(config, "inputdataconfig", channels)
        self.write_config(config, "resourceconfig", resource_config(request["ResourceConfig"]["InstanceType"]))

    def _upload_archive(self, s3: Any, name: str, url: str) -> None:
        """Upload a folder as tar.gz, unless it is empty."""
        folder = self.base / name
        if any(folder.iterdir()):
            archive = self.base / "tmp" / "archive.tar.gz"
            job_data.archive(folder, archive)
            job_data.upload_file(s3, archive, url)
            archive.unlink()

    def _publish_metrics(self) -> None:
        """Put the last value of each metric into the job and CloudWatch; a role may lack the right, as on AWS."""
        values, moment = self.log.values, now()
        if not values:
            return
        final = [{"MetricName": name, "Value": value, "Timestamp": moment} for name, value in values.items()]
        self.job.note("FinalMetricDataList", final)
        host = [{"Name": "Host", "Value": f"{self.job.name}/{HOST}"}]
        data = [{"MetricName": name, "Value": value, "Dimensions": host} for name, value in values.items()]
        try:
            self.client("cloudwatch").put_metric_data(Namespace=TRAINING.log_group, MetricData=data)
        except (ClientError, BotoCoreError) as error:
            log.warning("metrics of job %s are lost: %s", self.job.name, error)
