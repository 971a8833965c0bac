"""What is not paid while the environment is off, and the daily files at logs/cost/ that add it up. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from include import costs, hours
from include.costs import Kind
from include.settings import settings
from retail_mlops.common.scale_record import Record, Saving
from retail_mlops.schedule.running_resources import Balancer, Instance

PLANNED: Final = "planned"
ACTUAL: Final = "actual"


def hourly_savings(instances: Iterable[Instance], balancers: Iterable[Balancer]) -> tuple[Saving, ...]:
    """Return what is paid an hour for what runs, in USD by the price table of include/costs.py, without disks of nodes.

    A price that is not in the table is named and counted as 0: bookkeeping never keeps anything running.
    """
    nodes = Counter((instance.type, instance.spot) for instance in instances)
    balancers = list(balancers)
    addresses = sum(balancer.addresses for balancer in balancers)
    savings = [
        *(
            _priced(f"EC2 {type_}{' Spot' if spot else ''}", Kind.EC2_INSTANCE, type_, count, spot=spot)
            for (type_, spot), count in sorted(nodes.items())
        ),
        _priced("load balancer", Kind.LOAD_BALANCER, "", len(balancers)),
        _priced("public IPv4 address", Kind.PUBLIC_IPV4, "", addresses),
    ]
    return tuple(saving for saving in savings if saving.count)


def _priced(what: str, kind: Kind, detail: str, count: int, *, spot: bool = False) -> Saving:
    try:
        price = costs.hourly(kind, detail, count, spot=spot)
    except ValueError as error:
        return Saving(what=what, count=count, usd_per_hour=0, note=str(error))
    return Saving(what=what, count=count, usd_per_hour=price)


@dataclass(frozen=True)
class TimeOff:
    """A time in which the environment is off, and what is not paid during it. Its start identifies it."""

    start: dt.datetime
    end: dt.datetime
    planned_end: dt.datetime
    basis: str
    """planned or actual: which of the two the end is."""
    savings: tuple[Saving, ...]
    run: str

    @property
    def hours(self) -> float:
        return max(0.0, (self.end - self.start).total_seconds() / 3600)

    @property
    def usd_per_hour(self) -> float:
        return sum(saving.usd_per_hour for saving in self.savings)

    @property
    def days(self) -> list[dt.date]:
        """The local days whose files change: those of the time off, and those that were planned to be of it."""
        return sorted({*hours.hours_by_day(self.start, self.end), *hours.hours_by_day(self.start, self.planned_end)})


def time_off(record: Record) -> TimeOff | None:
    """Return the time off of a record; None when it is not known since when nothing runs."""
    if record.off_since is None or record.planned_until is None:
        return None
    return TimeOff(
        start=record.off_since,
        end=record.on_since or record.planned_until,
        planned_end=record.planned_until,
        basis=ACTUAL if record.on_since else PLANNED,
        savings=record.savings,
        run=record.owner,
    )


def daily_costs(document: dict[str, Any] | None, off: TimeOff, day: dt.date) -> dict[str, Any]:
    """Return a day's file with this time off in it; document: the file as it is.

    Adding a time off again, with its actual end instead of the planned one, replaces it.
    """
    entries = [entry for entry in (document or {}).get("off", []) if entry["since"] != _since(off)]
    if count := hours.hours_by_day(off.start, off.end).get(day):
        entries.append(
            {
                "since": _since(off),
                "until": off.end.astimezone(hours.ZONE).isoformat(timespec="seconds"),
                "basis": off.basis,
                "hours": round(count, 4),
                "usd_per_hour": round(off.usd_per_hour, 6),
                "saved_usd": round(count * off.usd_per_hour, 4),
                "savings": [saving.model_dump() for saving in off.savings],
                "run": off.run,
            }
        )
    return {
        "date": day.isoformat(),
        "environment": settings().environment,
        "hours_off": round(sum(entry["hours"] for entry in entries), 4),
        "saved_usd": round(sum(entry["saved_usd"] for entry in entries), 4),
        "prices": {"date": costs.prices().date, "source": costs.prices().source},
        "off": sorted(entries, key=lambda entry: entry["since"]),
    }


def is_published(document: dict[str, Any] | None, off: TimeOff) -> bool:
    """Return whether the file of its first day has this time off already, with its actual end."""
    entries = (document or {}).get("off", [])
    return any(entry["since"] == _since(off) and entry["basis"] == ACTUAL for entry in entries)


def _since(off: TimeOff) -> str:
    return off.start.astimezone(hours.ZONE).isoformat(timespec="seconds")
