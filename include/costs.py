"""Costs by the hour and by the month, from the dated price table prices.toml.

All prices are USD, on demand, in settings.REGION, before tax, free tiers and discounts. The table is not AWS's price
list: it carries its date, and marks the entries that nobody could verify.
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
"""The month by which AWS calculates: 365 × 24 / 12."""


class Kind(StrEnum):
    """What AWS bills for: the name of a group in the table. Kinds that end in `_GB` count gigabytes (a month)."""

    EKS_CLUSTER = "eks_cluster"
    EC2_INSTANCE = "ec2_instance"
    EBS_GP3_GB = "ebs_gp3_gb"
    LOAD_BALANCER = "load_balancer"
    INTERFACE_ENDPOINT = "interface_endpoint"
    """One for each availability zone: an endpoint in two zones counts as two."""
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
    """The prices of one kind.

    usd: price by detail (instance type, storage class; "" where there is only one). default: the detail that is meant
    when none is given. unverified: details whose price nobody could verify. spot_share: price on Spot, as a share.
    """

    page: HttpUrl
    per: Literal["hour", "month"]
    usd: dict[str, NonNegativeFloat]
    default: str = ""
    unverified: tuple[str, ...] = ()
    spot_share: float | None = None

    @model_validator(mode="after")
    def _names_its_own_entries(self) -> Self:
        named = {*self.unverified, *([self.default] if self.default else [])}
        if unknown := named - set(self.usd):
            raise ValueError(f"no price for {sorted(unknown)}, which `default` or `unverified` name")
        return self


class Prices(_Checked):
    """The whole table. date: ISO date of the price list from which it was taken."""

    date: str
    region: str
    source: str
    groups: dict[Kind, Group]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.region != REGION:
            raise ValueError(f"prices of {self.region}, but all resources are in {REGION}: take the prices of {REGION}")
        if missing := set(Kind) - set(self.groups):
            raise ValueError(f"no group for {sorted(missing)} in {TABLE.name}: add one for each")
        return self


@lru_cache
def prices() -> Prices:
    """Return the table. ValidationError (a ValueError) when prices.toml is wrong or lacks a kind."""
    table = tomllib.loads(TABLE.read_text())
    date: dt.date = table.pop("date")
    head = {key: table.pop(key) for key in ("region", "source")}
    return Prices(date=date.isoformat(), **head, groups=table)


def hourly(kind: Kind, detail: str = "", count: float = 1, *, spot: bool = False) -> float:
    """Return USD an hour for `count` resources. Monthly prices are divided by HOURS_A_MONTH.

    ValueError for a detail that the table does not have, and for `spot` where AWS sells no Spot.
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
    """Return USD a month for `count` resources. Arguments and errors as for `hourly`."""
    return HOURS_A_MONTH * hourly(kind, detail, count, spot=spot)
