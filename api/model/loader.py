"""Load and verify the bundle of a release, then watch the approval of its model package."""

import gc
import tempfile
import threading
from pathlib import Path

from api.config import Config
from api.errors import ApiError, Refused, Unavailable
from api.model.aws import Aws
from api.model.state import Package, State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets import bundle
from include.baskets.errors import BundleError

FIRST_RETRY_SECONDS = 0.5
"""The delay doubles with each retry ..."""
LONGEST_RETRY_SECONDS = 15.0
"""... up to this one."""


def require_approved(package: Package, config: Config) -> None:
    """Raise Refused unless the package is Approved and was registered for the bundle of this release."""
    if package.status != "Approved":
        raise Refused(
            f"model package {package.arn} is {package.status}, not Approved: it must not be served. "
            "Approve it in Airflow (Browse → Required Actions), or deploy an approved package"
        )
    registered = package.metadata.get("bundle_digest")
    if registered != config.bundle_digest:
        raise Refused(
            f"model package {package.arn} was approved for bundle {registered}, but this release has bundle "
            f"{config.bundle_digest}: it must not be served. Run DAG deploy again for the approved package"
        )


def load_bundle(archive: Path, digest: str) -> bundle.Bundle:
    """Unpack an archive and verify every byte. Raise Refused if it is not the bundle that `digest` names."""
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        try:
            return bundle.load(bundle.unpack(archive, Path(folder)), digest)
        except BundleError as error:
            raise Refused(f"the bundle is refused: {error}") from error


class Loader(threading.Thread):
    """Load in the background, so that the process answers /health and /ready from its first moment."""

    def __init__(self, state: State, log: Log, metrics: Metrics, aws: Aws | None = None) -> None:
        super().__init__(name="loader", daemon=True)
        self._state = state
        self._config = state.config
        self._log = log
        self._metrics = metrics
        self._aws = aws or Aws(self._config.aws_region)
        self._stop_requested = threading.Event()

    def stop(self) -> None:
        """Ask the thread to end; it does so at its next wait."""
        self._stop_requested.set()

    def run(self) -> None:
        """Load the bundle, then watch its approval until `stop`."""
        try:
            if self._load_with_retries():
                self._watch_approval()
        except Refused as error:
            self._refuse(str(error))
        except Exception as error:  # without this, the pod would stay unready without a reason
            self._refuse(f"loading the model failed: {type(error).__name__}: {error}")

    def _refuse(self, reason: str) -> None:
        self._state.reason = reason
        self._state.refusal = reason
        self._log.event("refused", "ERROR", reason=reason)

    def _load_with_retries(self) -> bool:
        """Return True when the bundle is loaded, False when `stop` came first."""
        delay = FIRST_RETRY_SECONDS
        while not self._stop_requested.is_set():
            try:
                self._load()
                return True
            except Unavailable as error:
                self._state.reason = f"waiting for AWS: {error}"
                self._log.event("waiting", "WARNING", reason=str(error), retry_in_seconds=delay)
            self._stop_requested.wait(delay)
            delay = min(2 * delay, LONGEST_RETRY_SECONDS)
        return False

    def _load(self) -> None:
        config = self._config
        self._state.reason = "checking the approval of the model package"
        package = self._aws.package(config.model_package_arn)
        require_approved(package, config)
        self._state.reason = "downloading and verifying the bundle"
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            archive = Path(folder) / "model.tar.gz"
            self._aws.fetch(config.model_data_url, archive)
            loaded = load_bundle(archive, config.bundle_digest)
        gc.collect()
        gc.freeze()  # these objects live as long as the process: keep them out of collections between requests
        self._serve(package, loaded)

    def _serve(self, package: Package, loaded: bundle.Bundle) -> None:
        self._state.package = package
        self._state.bundle = loaded
        self._state.reason = "ready"
        self._metrics.model(self._config.release_id, self._config.model_version, self._config.bundle_digest)
        self._metrics.ready.set(1)
        self._metrics.approved.set(1)
        self._log.event("ready", package=package.arn, digest=self._config.bundle_digest)

    def _watch_approval(self) -> None:
        """Check the approval until `stop`. A rejected package is served on, with a warning at every check."""
        while not self._stop_requested.wait(self._config.approval_check_seconds):
            try:
                package = self._aws.package(self._config.model_package_arn)
            except ApiError as error:
                self._log.event("approval_unknown", "WARNING", reason=str(error))
                continue
            self._state.package = package
            self._metrics.approved.set(int(self._state.approved))
            if not self._state.approved:
                self._log.event(
                    "not_approved",
                    "WARNING",
                    package=package.arn,
                    status=package.status,
                    reason="the served model is no longer approved: deploy an approved package",
                )
