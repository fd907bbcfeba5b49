"""Parse the storage options of a URL: credentials, headers, repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import Address

__all__ = ["OPTIONS", "UrlOptions", "fitting_options"]

OPTIONS = {
    "anonymous": "true: sign no request, whatever credentials there are",
    "profile": "name of a profile in the files of the AWS tools",
    "region": "S3: region of the bucket",
    "endpoint": "URL of another server than Amazon's, Google's or Microsoft's",
    "access_key_id": "S3",
    "secret_access_key": "S3",
    "session_token": "S3",
    "account_name": "Azure",
    "account_key": "Azure",
    "sas_token": "Azure",
    "service_account": "Google: path of a key file",
    "headers": "a mapping, or headers.NAME: sent with every request over HTTP",
    "retries": "how often a request is repeated (6)",
    "timeout": "seconds without a byte before a request is repeated (30)",
}
"""Options of ``storage_options``, with a hint for each.

Any option of obstore (or of fsspec, for other schemes) is accepted by its own name as well.
"""

_SAME = {
    "anon": "anonymous",
    "skip_signature": "anonymous",
    "endpoint_url": "endpoint",
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "aws_profile": "profile",
    "sas_key": "sas_token",
}
"""Names of the same options in s3fs, boto3 and adlfs."""


_PROVIDERS = {"s3": "S3", "gs": "Google", "az": "Azure", "abfs": "Azure"}
"""Words in the hints of `OPTIONS` for options of one provider, by scheme."""


def fitting_options(address: Address, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are for the scheme of an address.

    Options of other providers are left out, and for a web server all but headers, retries and
    timeout: it must not get the keys of a bucket.
    """
    if address.is_http:
        names = ("headers", "retries", "timeout")
        return {k: v for k, v in options.items() if k.lower().startswith(names)}
    own = _PROVIDERS.get(address.scheme)
    others = {word for word in _PROVIDERS.values() if word != own}

    def is_foreign(name: str) -> bool:
        hint = OPTIONS.get(_SAME.get(name, name), "")
        return own is not None and hint.partition(":")[0] in others

    return {key: value for key, value in options.items() if not is_foreign(key)}


@dataclass(frozen=True, slots=True)
class UrlOptions:
    """The storage options of one URL, by the names of `OPTIONS`."""

    anonymous: bool | None = None
    profile: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retries: int = 6
    timeout: float = 30.0
    others: Mapping[str, Any] = field(default_factory=dict)
    """Options that only one kind of server has."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> UrlOptions:
        """Return the options of a mapping.

        Raises
        ------
        LayoutError
            If a value cannot be converted. Names are checked where the options are used.
        """
        named = {_SAME.get(key, key): value for key, value in given.items()}
        headers = dict(named.pop("headers", None) or {})
        for key in [k for k in named if k.lower().startswith("headers.")]:
            headers[key[len("headers.") :]] = str(named.pop(key))
        anonymous = named.pop("anonymous", None)
        try:
            return cls(
                _flag(anonymous),
                named.pop("profile", None),
                headers,
                int(named.pop("retries", 6)),
                float(named.pop("timeout", 30)),
                named,
            )
        except (TypeError, ValueError) as error:
            raise LayoutError(f"storage options: {error}") from None


def _flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError(f"anonymous is {value!r}, expected true or false")
    return word in ("true", "1", "yes")
