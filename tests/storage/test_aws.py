"""The region of a bucket, as the server answers it."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

import pytest

from napari_pyramid.storage.aws import region_of_bucket


def refused(code: int, region: str | None = None) -> urllib.error.HTTPError:
    headers = Message()
    if region is not None:
        headers["x-amz-bucket-region"] = region
    return urllib.error.HTTPError("https://host/", code, "", headers, io.BytesIO())


def test_a_failure_is_not_remembered_and_an_answer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        urllib.error.URLError("no network"),
        TimeoutError(),
        refused(503),
        refused(403, "eu-west-1"),
    ]

    def urlopen(*args: Any, **options: Any) -> Any:
        raise answers.pop(0)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    found = [region_of_bucket("a-bucket-of-this-test") for _ in range(6)]
    assert found == [None, None, None, "eu-west-1", "eu-west-1", "eu-west-1"]
    assert not answers
