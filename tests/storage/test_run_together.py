"""run_together calls for every item, ends its threads, and hands on what is raised."""

from __future__ import annotations

import threading
import time

import pytest

from napari_pyramid.storage import run_together as threads
from napari_pyramid.storage.run_together import run_together


def test_every_item_is_handed_over_once() -> None:
    seen: list[int] = []
    run_together(seen.append, range(100))
    assert sorted(seen) == list(range(100))


def test_calls_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 3)
    together = threading.Barrier(3, timeout=30)
    run_together(lambda _: together.wait(), range(3))


def test_calls_that_wait_for_a_server_run_on_as_many_threads_as_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_FIRST", 2)
    together = threading.Barrier(19, timeout=30)
    run_together(lambda _: together.wait(), range(19), threads=19)


def test_no_more_threads_are_started_than_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_FIRST", 2)
    running, most = threading.Semaphore(5), []

    def call(_: int) -> None:
        most.append(running.acquire(blocking=False))
        time.sleep(0.01)
        running.release()

    run_together(call, range(40), threads=5)
    assert all(most)


def test_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 4)
    before = threading.active_count()
    run_together(str, range(50))
    assert threading.active_count() == before


def test_first_error_is_raised_and_the_rest_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 1)
    seen: list[int] = []

    def fail_at_three(i: int) -> None:
        seen.append(i)
        if i == 3:
            raise KeyError(i)

    with pytest.raises(KeyError):
        run_together(fail_at_three, range(10))
    assert seen == [0, 1, 2, 3]


def test_calls_may_call_it_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 2)
    seen: list[int] = []
    run_together(lambda i: run_together(seen.append, range(10 * i, 10 * i + 10)), range(5))
    assert sorted(seen) == list(range(50))
