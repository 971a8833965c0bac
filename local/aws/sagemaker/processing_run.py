"""Run a processing job: inputs to its folders, outputs back to S3."""

from local.aws.sagemaker import job_data
from local.aws.sagemaker.job_run import Run, command_of, resource_config


class ProcessingRun(Run):
    """The work on one processing job."""

    def work(self) -> None:
        """Download the inputs, run the command, upload the outputs."""
        request, specification = self.job.request, self.job.request["AppSpecification"]
        s3 = self.client("s3")
        outputs = [output["S3Output"] for output in request.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        recipe = self.pull(specification["ImageUri"])
        self._write_configs()
        for job_input in request.get("ProcessingInputs", []):
            source = job_input["S3Input"]
            job_data.download(s3, source["S3Uri"], source["S3DataType"], self.folder(source["LocalPath"]))
        for output in outputs:
            self.folder(output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        (self.base / "output").mkdir()
        self.job.begin()
        if self.job.stop.reason:
            return
        self.step("Processing", "Processing")
        self.execute(recipe, command_of(recipe, specification, recipe.args), {})
        if not self.job.stop.reason:
            for output in outputs:
                job_data.upload_folder(s3, self.folder(output["LocalPath"]), output["S3Uri"])

    def _write_configs(self) -> None:
        request, folder = self.job.request, self.base / "config"
        described = {name: value for name, value in request.items() if name != "Tags"}
        self.write_config(folder, "processingjobconfig", described | {"ProcessingJobArn": self.job.arn})
        instance = request["ProcessingResources"]["ClusterConfig"]["InstanceType"]
        self.write_config(folder, "resourceconfig", resource_config(instance))
