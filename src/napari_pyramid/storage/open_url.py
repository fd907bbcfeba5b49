"""Open an address: choose the transport for its scheme, and its credentials and options.

Credentials come from the options, or else from where the tools of the provider look (environment,
profile, files). Without credentials, requests are anonymous. Only the transport keeps credentials.
"""

from __future__ import annotations

import base64
import importlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import Address
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.transport import (
    FsspecTransport,
    ObstoreTransport,
    Transport,
    UrllibTransport,
)

__all__ = ["OPTIONS", "open_remote"]

OPTIONS = {
    "anonymous": "true: sign no request, whatever credentials there are",
    "profile": "name of a profile in the files of the AWS tools",
    "region": "region of a bucket on S3",
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
FIRST_PAUSE = timedelta(milliseconds=100)
"""Pause before the first repetition of a request.

Each further pause is up to twice as long, at random.
"""
_BY_OBSTORE = ("http", "https", "s3", "gs", "az", "abfs")


@dataclass(frozen=True, slots=True)
class _Options:
    """What a user asked for, by the names of `OPTIONS`."""

    anonymous: bool | None = None
    profile: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retries: int = 6
    timeout: float = 30.0
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _Options:
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


def open_remote(address: Address, options: Mapping[str, Any] | None = None) -> RemoteStore:
    """Return the store at an address, without a request.

    Parameters
    ----------
    options
        See `OPTIONS`.

    Raises
    ------
    LayoutError
        If a package for the scheme is not installed, or an option is not known or not usable.
    """
    connection = _Connection(address, _Options.of(options or {}), options or {})
    connection.transports()  # raises for wrong options now, not at the first request
    return RemoteStore(connection)


@dataclass(frozen=True, slots=True)
class _Connection:
    """Factory of the transports of a store. It can be pickled, to make them in other processes."""

    address: Address
    options: _Options
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The options as they were given, to open an address below this one."""

    def transports(self) -> Sequence[Transport]:
        scheme = self.address.scheme
        if scheme not in _BY_OBSTORE:
            return [self._by_fsspec()]
        _require("obstore", self.address)
        try:
            if self.address.is_http:
                return [ObstoreTransport(self._http())]
            prefix = f"{self.address.path}/" if self.address.path else ""
            if scheme == "s3":
                return [ObstoreTransport(store, prefix) for store in self._s3()]
            if scheme == "gs":
                return [ObstoreTransport(store, prefix) for store in self._gs()]
            return [ObstoreTransport(*store) for store in self._azure(prefix)]
        except LayoutError:
            raise
        # Not narrower: obstore has classes of its own for options that it does not know.
        except Exception as error:
            raise LayoutError(
                f"{self.address.public}: storage options: {_first_line(error)}; "
                f"known are {', '.join(OPTIONS)}"
            ) from None

    def fallback(self) -> Transport | None:
        if not self.address.is_http:
            return None
        return UrllibTransport(self.address, self._headers(), self.options.timeout)

    def at(self, address: Address) -> _Connection:
        return replace(self, address=address)

    @property
    def headers(self) -> dict[str, str]:
        headers = dict(self.options.headers)
        if self.address.credentials:
            token = base64.b64encode(self.address.credentials.encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        return headers

    @property
    def s3_settings(self) -> dict[str, Any]:
        session = _botocore_session(self.options.profile, self.address)
        given = {**_aws_settings(session), **self.options.others}
        found: dict[str, Any] = {}
        if "endpoint" in given:
            found["endpoint"] = given["endpoint"]
            found["aws_region"] = given.get("region", "us-east-1")
        elif region := self.options.others.get("region") or _region_of(self.address.host):
            found["aws_region"] = region
        signed = "access_key_id" in given or (session is not None and _aws_credentials(session))
        if self.options.anonymous or not signed:
            found["aws_credentials"] = {"type": "anonymous"}
        elif self.options.profile:
            found["aws_credentials"] = {"type": "profile", "profile": self.options.profile}
        return found

    # ---- one scheme each ----

    def _http(self) -> Any:
        from obstore.store import HTTPStore

        if self.options.others:
            unknown = next(iter(self.options.others))
            raise LayoutError(
                f"{self.address.public}: storage option {unknown!r} "
                f"is not for {self.address.scheme}: "
                "headers, retries and timeout are"
            )
        return HTTPStore(self.address.requested, **self._client())

    def _s3(self) -> list[Any]:
        from obstore.store import S3Store

        session = _botocore_session(self.options.profile, self.address)
        config = {**_aws_settings(session), **self.options.others}
        if "endpoint" in config:
            config.setdefault("virtual_hosted_style_request", False)
        elif "region" not in self.options.others:
            # A bucket is in its own region, whatever region the user works in.
            config["region"] = _region_of(self.address.host) or config.get("region")
        config = {key: value for key, value in config.items() if value is not None}

        def store(config: Any, **more: Any) -> Any:
            return S3Store(self.address.host, config=config, **more, **self._client())

        secrets = ("access_key_id", "secret_access_key", "session_token")
        unsigned = {key: value for key, value in config.items() if key not in secrets}
        anonymous = store({**unsigned, "skip_signature": True})
        if self.options.anonymous:
            return [anonymous]
        signed = None
        if "access_key_id" in config:
            signed = store(config)
        elif session is not None and (found := _aws_credentials(session)):
            provider = _AwsCredentials(self.options.profile, found)
            signed = store(config, credential_provider=provider)
        elif self.options.anonymous is False:
            signed = store(config)  # with what obstore finds: an instance's role
        if signed is None:
            return [anonymous]
        return [signed] if self.options.anonymous is False else [signed, anonymous]

    def _gs(self) -> list[Any]:
        from obstore.store import GCSStore

        config: Any = dict(self.options.others)
        if "endpoint" in config:
            config["base_url"] = config.pop("endpoint")
        unsigned: Any = {k: v for k, v in config.items() if not k.startswith("service_account")}
        unsigned["skip_signature"] = True
        anonymous = GCSStore(self.address.host, config=unsigned, **self._client())
        has_credentials = any("account" in k or "credentials" in k or "token" in k for k in config)
        if self.options.anonymous or not (has_credentials or _google_credentials()):
            return [anonymous]
        signed = GCSStore(self.address.host, config=config, **self._client())
        return [signed] if self.options.anonymous is False else [signed, anonymous]

    def _azure(self, prefix: str) -> list[tuple[Any, str]]:
        from obstore.store import AzureStore

        address = self.address
        config: Any = dict(self.options.others)
        container, at, host = address.host.partition("@")
        account = host.partition(".")[0] if at else None
        account = config.pop("account_name", None) or account or _azure_account()
        if account is None:
            # az://account/container/path, as obstore and tensorstore spell it
            account, (container, _, path) = address.host, address.path.partition("/")
            prefix = f"{path}/" if path else ""
        if not container:
            raise LayoutError(
                f"{address.public}: give a container and an account: "
                "az://ACCOUNT/CONTAINER/PATH, or "
                "az://CONTAINER/PATH with the storage option account_name"
            )
        config["account_name"] = account
        if "sas_token" in config:
            config["sas_key"] = config.pop("sas_token")
        keys = ("account_key", "sas_key", "client_secret", "access_key", "bearer_token")
        unsigned: Any = {k: v for k, v in config.items() if k not in keys}
        unsigned["skip_signature"] = True
        anonymous = AzureStore(container, config=unsigned, **self._client())
        has_credentials = any(k in config for k in keys) or any(
            name in os.environ
            for name in (
                "AZURE_STORAGE_ACCOUNT_KEY",
                "AZURE_STORAGE_KEY",
                "AZURE_STORAGE_SAS_TOKEN",
            )
        )
        if self.options.anonymous or not has_credentials:
            return [(anonymous, prefix)]
        signed = (AzureStore(container, config=config, **self._client()), prefix)
        return [signed] if self.options.anonymous is False else [signed, (anonymous, prefix)]

    def _by_fsspec(self) -> Transport:
        _require("fsspec", self.address)
        import fsspec

        try:
            klass = fsspec.get_filesystem_class(self.address.scheme)
            url = f"{self.address.scheme}://{self.address.host}/{self.address.path}"
            system = klass(
                **klass._get_kwargs_from_urls(url),
                **self.options.others,
                **({"asynchronous": True} if klass.async_impl else {}),
                skip_instance_cache=True,
            )
            return FsspecTransport(system, klass._strip_protocol(url).rstrip("/"))
        # Not narrower: fsspec and its back ends have errors of their own for schemes, hosts and
        # credentials.
        except Exception as error:
            raise LayoutError(
                f"{self.address.public} cannot be opened: {type(error).__name__}: {error}"
            ) from error

    # ---- what all have in common ----

    def _headers(self) -> dict[str, str]:
        return {"User-Agent": "napari-pyramid", **self.headers}

    def _client(self) -> dict[str, Any]:
        options = self.options
        wait = timedelta(seconds=options.timeout)
        return {
            "client_options": {
                "allow_http": True,
                "connect_timeout": min(wait, timedelta(seconds=10)),
                "read_timeout": wait,
                "timeout": wait * 20,
                "default_headers": self._headers(),
            },
            "retry_config": {
                "max_retries": options.retries,
                "retry_timeout": wait * (options.retries + 1),
                "backoff": {
                    "init_backoff": FIRST_PAUSE,
                    "max_backoff": timedelta(seconds=10),
                    "base": 2,
                },
            },
        }


def _require(module: str, address: Address) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise LayoutError(
            f'{address.public}: "{address.scheme}" needs the package {module}: '
            'pip install "napari-pyramid[remote]"'
        ) from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).partition("\n")[0].split())[:200]


# ---- credentials of Amazon ----


def _aws_settings(session: Any) -> dict[str, Any]:
    """Return region and endpoint of the environment, or else of the profile."""
    found = {
        "endpoint": os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    }
    if session is not None:
        found["region"] = found["region"] or session.get_config_variable("region")
        found["endpoint"] = found["endpoint"] or _endpoint_of(session)
    return {key: value for key, value in found.items() if value}


def _botocore_session(profile: str | None, address: Address) -> Any:
    """Return a session of botocore, or None if botocore is not installed.

    botocore knows profiles, roles and single sign-on.
    """
    try:
        import botocore.session
    except ImportError:
        if profile is not None:
            _require("botocore", address)
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


def _aws_credentials(session: Any) -> Any:
    """Return the credentials of the environment, a profile, a role or a login, or None.

    The role of an instance is not asked for: outside of an instance that takes seconds.
    """
    resolver = session.get_component("credential_provider")
    resolver.remove("iam-role")
    return session.get_credentials()


class _AwsCredentials:
    """Credentials that are renewed when they expire; only the name of the profile is pickled."""

    def __init__(self, profile: str | None, found: Any = None) -> None:
        self._profile = profile
        self._found = found

    def __reduce__(self) -> tuple[type[_AwsCredentials], tuple[str | None]]:
        return _AwsCredentials, (self._profile,)

    def __call__(self) -> dict[str, Any]:
        if self._found is None:
            import botocore.session

            self._found = _aws_credentials(botocore.session.Session(profile=self._profile))
        frozen = self._found.get_frozen_credentials()
        expires = getattr(self._found, "_expiry_time", None)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires,
        }


@cache
def _region_of(bucket: str) -> str | None:
    """Return the region of a bucket at Amazon, which needs no credentials, or None."""
    request = urllib.request.Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        error.close()
        headers = error.headers
    except (OSError, ValueError):
        return None
    region = headers.get("x-amz-bucket-region")
    return None if region is None else str(region)


# ---- credentials of others ----


def _google_credentials() -> bool:
    """Return whether application default credentials are where Google's tools put them."""
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or os.environ.get("GOOGLE_SERVICE_ACCOUNT"):
        return True
    home = os.environ.get("APPDATA") if os.name == "nt" else os.path.expanduser("~/.config")
    return os.path.isfile(
        os.path.join(home or "", "gcloud", "application_default_credentials.json")
    )


def _azure_account() -> str | None:
    return os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_STORAGE_ACCOUNT")
