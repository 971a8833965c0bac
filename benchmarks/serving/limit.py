"""A share of a processor for a running process: the quota of a control group, as Kubernetes sets it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_MICROSECONDS = 100_000
_GROUP = "retail-mlops-benchmark"
_FIRST, _SECOND = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class Limited:
    """`limited` tells whether the quota holds; throttled() how many periods of how many ran out of it."""

    def __init__(self, group: Path | None) -> None:
        self._group = group

    @property
    def limited(self) -> bool:
        return self._group is not None

    def throttled(self) -> tuple[int, int]:
        if self._group is None:
            return 0, 0
        stat = dict(line.split() for line in (self._group / "cpu.stat").read_text().splitlines())
        return int(stat["nr_throttled"]), int(stat["nr_periods"])


@contextmanager
def processor_share(pid: int, share: float) -> Iterator[Limited]:
    """Limits a process until the block ends. Where control groups cannot be written it is not limited."""
    version_one = (_FIRST / "cpu.cfs_quota_us").exists()
    parent = _FIRST if version_one else _SECOND
    group, quota = parent / _GROUP, int(share * PERIOD_MICROSECONDS)
    try:
        group.mkdir()
    except OSError:
        yield Limited(None)
        return
    try:
        try:
            if version_one:
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            yield Limited(None)
            return
        yield Limited(group)
        (parent / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()
