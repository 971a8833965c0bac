"""Prefetch the items of a loop in a thread, so that the loop uses two cores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items in the same order; a thread makes the next one while the caller works on the current one.

    An error of `items` is raised where its item would have been yielded.
    """
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, end)
        while (item := upcoming.result()) is not end:
            upcoming = pool.submit(next, items, end)
            yield item
