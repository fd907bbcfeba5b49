"""Find the credentials, the endpoint and the region of a bucket at Amazon.

botocore, if it is installed, knows profiles, roles and single sign-on.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from functools import cache
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import Address

__all__ = [
    "AwsCredentials",
    "aws_credentials",
    "aws_session",
    "aws_settings",
    "region_of_bucket",
]


def aws_settings(session: Any) -> dict[str, Any]:
    """Return region and endpoint of the environment, or else of the profile."""
    found = {
        "endpoint": os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    }
    if session is not None:
        found["region"] = found["region"] or session.get_config_variable("region")
        found["endpoint"] = found["endpoint"] or _endpoint_of(session)
    return {key: value for key, value in found.items() if value}


def aws_session(profile: str | None, address: Address) -> Any:
    """Return a session of botocore, or None if botocore is not installed.

    Raises
    ------
    LayoutError
        If there is no profile of the given name, or of the name in ``AWS_PROFILE``.
    """
    try:
        import botocore.session
    except ImportError:
        return None
    session = botocore.session.Session(profile=profile)
    known = session.available_profiles
    wanted = profile or os.environ.get("AWS_PROFILE")
    if wanted and wanted not in known:
        raise LayoutError(
            f"{address.public}: there is no AWS profile {wanted!r}: "
            f"there are {', '.join(known) or 'none'}"
        )
    return session


def _endpoint_of(session: Any) -> str | None:
    """Return the endpoint of the profile: its own, or the endpoint of its services section."""
    config = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(config.get("services"), {})
    of_s3 = services.get("s3", {})
    found = of_s3.get("endpoint_url") if isinstance(of_s3, dict) else None
    endpoint = found or config.get("endpoint_url")
    return None if endpoint is None else str(endpoint)


def aws_credentials(session: Any) -> Any:
    """Return the credentials of the environment, a profile, a role or a login, or None.

    The role of an instance is not asked for: outside of an instance that takes seconds.
    """
    resolver = session.get_component("credential_provider")
    resolver.remove("iam-role")
    return session.get_credentials()


class AwsCredentials:
    """Credentials that are renewed when they expire; only the name of the profile is pickled."""

    def __init__(self, profile: str | None, found: Any = None) -> None:
        self._profile = profile
        self._found = found

    def __reduce__(self) -> tuple[type[AwsCredentials], tuple[str | None]]:
        return AwsCredentials, (self._profile,)

    def __call__(self) -> dict[str, Any]:
        """Return the keys, and when they expire, as obstore expects them."""
        if self._found is None:
            import botocore.session

            self._found = aws_credentials(botocore.session.Session(profile=self._profile))
        frozen = self._found.get_frozen_credentials()
        expires = getattr(self._found, "_expiry_time", None)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires,
        }


def region_of_bucket(bucket: str) -> str | None:
    """Return the region of a bucket at Amazon, which needs no credentials, or None."""
    try:
        return _answered_region(bucket)
    except (OSError, ValueError):
        return None


@cache  # of answers: the next call asks again after an error
def _answered_region(bucket: str) -> str | None:
    request = urllib.request.Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500:
            raise
        headers = error.headers
    region = headers.get("x-amz-bucket-region")
    return None if region is None else str(region)
