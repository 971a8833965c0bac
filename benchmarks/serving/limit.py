"""Limit a running process to a share of a processor by the quota of a control group, as Kubernetes does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_MICROSECONDS = 100_000
_GROUP = "retail-mlops-benchmark"
_VERSION_1 = Path("/sys/fs/cgroup/cpu")
_VERSION_2 = Path("/sys/fs/cgroup")


class CpuLimit:
    """The limit of a process; without a control group there is none."""

    def __init__(self, group: Path | None) -> None:
        self._group = group

    @property
    def enforced(self) -> bool:
        return self._group is not None

    def throttled(self) -> tuple[int, int]:
        """Return in how many periods the process used up its quota, and how many periods there were."""
        if self._group is None:
            return 0, 0
        stat = dict(line.split() for line in (self._group / "cpu.stat").read_text().splitlines())
        return int(stat["nr_throttled"]), int(stat["nr_periods"])


@contextmanager
def processor_share(pid: int, share: float) -> Iterator[CpuLimit]:
    """Limit a process until the block ends. Where control groups cannot be written, the limit is not enforced."""
    version_1 = (_VERSION_1 / "cpu.cfs_quota_us").exists()
    parent = _VERSION_1 if version_1 else _VERSION_2
    group = parent / _GROUP
    try:
        group.mkdir()
    except OSError:
        yield CpuLimit(None)
        return
    try:
        try:
            _set_quota(group, version_1, int(share * PERIOD_MICROSECONDS))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            yield CpuLimit(None)
            return
        yield CpuLimit(group)
        (parent / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()


def _set_quota(group: Path, version_1: bool, microseconds: int) -> None:
    if version_1:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(microseconds))
    else:
        (group / "cpu.max").write_text(f"{microseconds} {PERIOD_MICROSECONDS}")
