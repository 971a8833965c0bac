"""What the process knows about itself: is there a model, is it still approved, is the process leaving."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.config import Config

if TYPE_CHECKING:
    from include.baskets.bundle import Bundle


@dataclass(frozen=True)
class Package:
    """The facts of a model package that /model shows (DescribeModelPackage)."""

    arn: str
    status: str
    approval: str = ""
    created: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class State:
    """Shared by the loader's thread, which writes, and the event loop, which reads: single attributes, no lock."""

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
