"""Items from a source of any speed, in batches: an item that comes alone waits for no other."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from queue import Empty, Queue
from typing import Generic, TypeVar

T = TypeVar("T")
_AHEAD = 2
"""Full batches that are read ahead at most."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def as_they_come(items: Iterable[T], limit: int) -> Iterator[list[T]]:
    """Items in batches: each begins with an item that is waited for, and takes along what has come by then.

    A thread iterates over the items. It does not keep the program from ending while it waits for one.

    Args:
        limit: Most items in a batch.

    Raises:
        BaseException: whatever the iteration raises, after the items that came before.
    """
    arrived: Queue[_Item[T] | _End] = Queue(_AHEAD * limit)
    threading.Thread(target=_read, args=(items, arrived), daemon=True).start()
    while True:
        entries = list(islice(_waiting(arrived), limit))
        if batch := [entry.value for entry in entries if isinstance(entry, _Item)]:
            yield batch
        if isinstance(end := entries[-1], _End):
            if end.error is not None:
                raise end.error
            return


def _read(items: Iterable[T], arrived: Queue[_Item[T] | _End]) -> None:
    try:
        for item in items:
            arrived.put(_Item(item))
    except BaseException as error:  # whatever it is, the thread that waits for items must know
        arrived.put(_End(error))
    else:
        arrived.put(_End(None))


def _waiting(arrived: Queue[T]) -> Iterator[T]:
    """The next entry, which is waited for, and those that are there already."""
    yield arrived.get()
    while True:
        try:
            entry = arrived.get_nowait()
        except Empty:
            return
        yield entry
