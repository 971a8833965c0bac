"""The limits of PutLogEvents: 10,000 events and 1 MiB, with 26 bytes more for each event, of 256 KiB. We stay below."""

from typing import Final

BATCH_EVENTS: Final = 9000
BATCH_BYTES: Final = 900_000
EVENT_BYTES: Final = 200_000
EVENT_OVERHEAD_BYTES: Final = 26
