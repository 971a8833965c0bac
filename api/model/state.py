"""The state of the process: the loaded model, its approval, and whether the process is draining."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.config import Config

if TYPE_CHECKING:
    from include.baskets.bundle import Bundle


@dataclass(frozen=True)
class Package:
    """What DescribeModelPackage returned; /model shows it."""

    arn: str
    status: str
    approval: str = ""
    created: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class State:
    """Written by the loader's thread, read by the event loop. Each attribute is set alone, so no lock is needed."""

    config: Config
    bundle: "Bundle | None" = None
    package: Package | None = None
    reason: str = "starting"
    refusal: str | None = None
    draining: bool = False

    @property
    def ready(self) -> bool:
        return self.bundle is not None and not self.draining

    @property
    def approved(self) -> bool:
        return self.package is not None and self.package.status == "Approved"
