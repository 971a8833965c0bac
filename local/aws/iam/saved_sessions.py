"""Keep temporary credentials over a restart; without them every task that runs meanwhile would lose its role."""

from typing import Any, Final

from ministack.services import sts

from local.aws.patch import replace


def _get_state() -> dict[str, Any]:
    return {"sessions": dict(sts._sessions)}


def _load_state(state: dict[str, Any]) -> None:
    sts._sessions.update(state.get("sessions", {}))


_REASON: Final = "temporary credentials are not saved"

PATCHES: Final = (
    replace(sts, "get_state", _get_state, _REASON),
    replace(sts, "load_persisted_state", _load_state, _REASON),
)
