# SPDX-License-Identifier: MIT
"""Bounds how many runs go on at once and how many wait for their turn."""

import threading


class Full(Exception):
    """No place became free in time."""


class Gate:
    """A context manager: `with gate:` holds one of `places`.

    When none is free, up to `queue` callers wait, each at most `wait_seconds`; anyone else gets Full at once.
    The wait matters: in a burst of requests, an answer some milliseconds later is better than an error.
    """

    def __init__(self, places, queue, wait_seconds):
        self._wait_seconds = wait_seconds
        self._places = threading.Semaphore(places)
        self._inside_or_waiting = threading.Semaphore(places + queue)

    def __enter__(self):
        if not self._inside_or_waiting.acquire(blocking=False):
            raise Full
        if not self._places.acquire(timeout=self._wait_seconds):
            self._inside_or_waiting.release()
            raise Full

    def __exit__(self, *_):
        self._places.release()
        self._inside_or_waiting.release()
