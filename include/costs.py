"""What things cost: the dated price table (prices.toml) and the two questions that are asked of it.

Everything is USD, on demand, in settings.REGION, before tax, free tiers and discounts. The table is no price list of
AWS's: it says from which day it is and which entries nobody could verify.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, HttpUrl, NonNegativeFloat, model_validator

from include.settings import REGION

TABLE: Final = Path(__file__).with_name("prices.toml")
HOURS_A_MONTH: Final = 730
"""AWS's own month: 365 × 24 / 12."""


class Kind(StrEnum):
    """What AWS bills for; the name of its group in the table. `_GB` kinds count gigabytes (a month)."""

    EKS_CLUSTER = "eks_cluster"
    EC2_INSTANCE = "ec2_instance"
    EBS_GP3_GB = "ebs_gp3_gb"
    LOAD_BALANCER = "load_balancer"
    INTERFACE_ENDPOINT = "interface_endpoint"
    """In one availability zone: an endpoint in two zones counts two."""
    PUBLIC_IPV4 = "public_ipv4"
    S3_GB = "s3_gb"
    ECR_GB = "ecr_gb"
    LOGS_GB = "logs_gb"
    LOGS_INGESTED_GB = "logs_ingested_gb"
    METRIC = "metric"
    ALARM = "alarm"
    DASHBOARD = "dashboard"
    KMS_KEY = "kms_key"
    SAGEMAKER_INSTANCE = "sagemaker_instance"
    SAGEMAKER_VOLUME_GB = "sagemaker_volume_gb"
    DATA_OUT_GB = "data_out_gb"
    FREE = "free"


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Group(_Checked):
    """The prices of one kind: `usd` by detail (instance type, storage class; "" where there is only one)."""

    page: HttpUrl
    per: Literal["hour", "month"]
    usd: dict[str, NonNegativeFloat]
    default: str = ""
    unverified: tuple[str, ...] = ()
    spot_share: float | None = None

    @model_validator(mode="after")
    def _names_its_own_entries(self) -> Self:
        if strangers := {*self.unverified, *([self.default] if self.default else [])} - set(self.usd):
            raise ValueError(f"no price for {sorted(strangers)}, which `default` or `unverified` name")
        return self


class Prices(_Checked):
    """The whole table; `date` (ISO) is the day of the price list that it was taken from."""

    date: str
    region: str
    source: str
    groups: dict[Kind, Group]

    @model_validator(mode="after")
    def _every_kind_of_our_region_is_there(self) -> Self:
        if self.region != REGION:
            raise ValueError(f"prices of {self.region}, but everything lives in {REGION}")
        if missing := set(Kind) - set(self.groups):
            raise ValueError(f"no group for {sorted(missing)} in {TABLE.name}")
        return self


@lru_cache
def prices() -> Prices:
    """The table; ValidationError (a ValueError) when prices.toml is wrong or lacks a kind."""
    table = tomllib.loads(TABLE.read_text())
    date: dt.date = table.pop("date")
    head = {key: table.pop(key) for key in ("region", "source")}
    return Prices(date=date.isoformat(), **head, groups=table)


def hourly(kind: Kind, detail: str = "", count: float = 1, *, spot: bool = False) -> float:
    """USD an hour of `count` things; kinds that AWS bills by the month are divided by HOURS_A_MONTH.

    ValueError for a detail that the table does not know, and for `spot` where AWS sells no Spot.
    """
    group = prices().groups[kind]
    key = detail or group.default
    if key not in group.usd:
        raise ValueError(
            f"no price for {kind} {key or '(no detail given)'}: known are {', '.join(group.usd)}; "
            f"add it to [{kind}.usd] in include/{TABLE.name} from {group.page}"
        )
    if spot and group.spot_share is None:
        raise ValueError(f"{kind} is not sold on Spot")
    share = (group.spot_share or 1) if spot else 1
    return group.usd[key] * share * count / (1 if group.per == "hour" else HOURS_A_MONTH)


def monthly(kind: Kind, detail: str = "", count: float = 1, *, spot: bool = False) -> float:
    """USD for a whole month of `count` things."""
    return HOURS_A_MONTH * hourly(kind, detail, count, spot=spot)
