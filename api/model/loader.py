"""From a release's settings to a verified bundle, and the watch over its approval afterwards."""

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

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between tries while AWS does not answer


def require_approved(package: Package, config: Config) -> None:
    """Refused unless the package is Approved and is the package of this very bundle."""
    if package.status != "Approved":
        raise Refused(
            f"model package {package.arn} is {package.status}, not Approved: it must not be served. "
            "Approve it (DAG train, Required Actions) or deploy an approved one"
        )
    registered = package.metadata.get("bundle_digest")
    if registered != config.bundle_digest:
        raise Refused(
            f"model package {package.arn} was approved for bundle {registered}, "
            f"but this release names bundle {config.bundle_digest}"
        )


def load_bundle(archive: Path, digest: str) -> bundle.Bundle:
    """Unpack and verify every byte. Refused if this is not the bundle that `digest` names."""
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        try:
            return bundle.load(bundle.unpack(archive, Path(folder)), digest)
        except BundleError as error:
            raise Refused(f"the bundle is refused: {error}") from error


class Loader(threading.Thread):
    """Loads in the background, so that the process is alive (and says why it is not ready) from the first moment."""

    def __init__(
        self,
        state: State,
        log: Log,
        metrics: Metrics,
        aws: Aws | None = None,
    ) -> None:
        super().__init__(name="loader", daemon=True)
        self._state, self._log, self._metrics = state, log, metrics
        self._config = state.config
        self._aws = aws or Aws(self._config.aws_region)
        self._stop_wanted = threading.Event()

    def stop(self) -> None:
        self._stop_wanted.set()

    def run(self) -> None:
        try:
            if self._load_with_patience():
                self._watch_approval()
        except Refused as error:
            self._refuse(str(error))
        except Exception as error:  # a loader that died silently would leave the pod unready for ever
            self._refuse(f"loading failed: {type(error).__name__}: {error}")

    def _refuse(self, reason: str) -> None:
        self._state.reason = self._state.refusal = reason
        self._log.event("refused", "ERROR", reason=reason)

    def _load_with_patience(self) -> bool:
        """True when the bundle is loaded, False when the process leaves before it is."""
        pause = FIRST_PAUSE
        while not self._stop_wanted.is_set():
            try:
                self._load()
                return True
            except Unavailable as error:
                self._state.reason = f"waiting for AWS: {error}"
                self._log.event("waiting", "WARNING", reason=str(error), retry_in_seconds=pause)
            self._stop_wanted.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return False

    def _load(self) -> None:
        config, state = self._config, self._state
        state.reason = "asking whether the model package is approved"
        package = self._aws.package(config.model_package_arn)
        require_approved(package, config)
        state.reason = "fetching and verifying the bundle"
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            archive = Path(folder) / "model.tar.gz"
            self._aws.fetch(config.model_data_url, archive)
            loaded = load_bundle(archive, config.bundle_digest)
        gc.collect()
        gc.freeze()  # what is there now stays: the collector need not look at it again between requests
        state.package, state.bundle, state.reason = package, loaded, "ready"
        self._metrics.model(config.release_id, config.model_version, config.bundle_digest)
        self._metrics.ready.set(1)
        self._metrics.approved.set(1)
        self._log.event("ready", package=package.arn, digest=config.bundle_digest)

    def _watch_approval(self) -> None:
        """A package rejected after the start takes no running pod away: it warns, at every look, until replaced."""
        while not self._stop_wanted.wait(self._config.approval_check_seconds):
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
                    reason="this model is served though it is no longer approved: deploy an approved one",
                )
