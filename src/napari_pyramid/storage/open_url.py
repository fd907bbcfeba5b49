"""Open an address: choose the transport for its scheme, and its credentials and options.

Credentials come from the options, or else from where the tools of the provider look (environment,
profile, files). Without credentials, requests are anonymous. Only the transport keeps credentials.
"""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import Address
from napari_pyramid.storage.aws import (
    AwsCredentials,
    aws_credentials,
    aws_session,
    aws_settings,
    region_of_bucket,
)
from napari_pyramid.storage.fsspec_transport import FsspecTransport
from napari_pyramid.storage.http_clients import client_settings, http_transport
from napari_pyramid.storage.obstore_transport import ObstoreTransport
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.transport import Transport
from napari_pyramid.storage.url_options import OPTIONS, UrlOptions
from napari_pyramid.storage.urllib_transport import UrllibTransport

__all__ = ["open_remote"]

FIRST_PAUSE = timedelta(milliseconds=100)
"""Pause before the first repetition of a request."""
_BY_OBSTORE = ("http", "https", "s3", "gs", "az", "abfs")


def open_remote(address: Address, options: Mapping[str, Any] | None = None) -> RemoteStore:
    """Return the store at an address, without a request.

    Parameters
    ----------
    options
        See `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If a package for the scheme is not installed, or an option is not known or not usable.
    """
    return RemoteStore(_Connection(address, UrlOptions.of(options or {}), options or {}))


@dataclass(frozen=True, slots=True)
class _Connection:
    """Factory of the transports of a store. It can be pickled, to make them in other processes."""

    address: Address
    options: UrlOptions
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The options as they were given, to open an address below this one."""

    def transports(self) -> Sequence[Transport]:
        scheme = self.address.scheme
        if scheme not in _BY_OBSTORE:
            return [self._by_fsspec()]
        _require("obstore", self.address)
        try:
            if self.address.is_http:
                return [self._http()]
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
        session = self._aws_session()
        given = {**aws_settings(session), **self.options.others}
        found: dict[str, Any] = {}
        if "endpoint" in given:
            found["endpoint"] = given["endpoint"]
            found["aws_region"] = given.get("region", "us-east-1")
        elif region := self.options.others.get("region") or region_of_bucket(self.address.host):
            found["aws_region"] = region
        signed = "access_key_id" in given or (session is not None and aws_credentials(session))
        if self.options.anonymous or not signed:
            found["aws_credentials"] = {"type": "anonymous"}
        elif self.options.profile:
            found["aws_credentials"] = {"type": "profile", "profile": self.options.profile}
        return found

    def _aws_session(self) -> Any:
        if self.options.profile is not None:
            _require("botocore", self.address)
        return aws_session(self.options.profile, self.address)

    # ---- one scheme each ----

    def _http(self) -> ObstoreTransport:
        if self.options.others:
            unknown = next(iter(self.options.others))
            raise LayoutError(
                f"{self.address.public}: storage option {unknown!r} "
                f"is not for {self.address.scheme}: "
                "headers, retries and timeout are"
            )
        return http_transport(self.address, self.options, self._headers(), FIRST_PAUSE)

    def _s3(self) -> list[Any]:
        from obstore.store import S3Store

        session = self._aws_session()
        config = {**aws_settings(session), **self.options.others}
        if "endpoint" in config:
            config.setdefault("virtual_hosted_style_request", False)
        elif "region" not in self.options.others:
            # A bucket is in its own region, whatever region the user works in.
            config["region"] = region_of_bucket(self.address.host) or config.get("region")
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
        elif session is not None and (found := aws_credentials(session)):
            provider = AwsCredentials(self.options.profile, found)
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

    # ---- shared by all kinds of URLs ----

    def _headers(self) -> dict[str, str]:
        return {"User-Agent": "napari-pyramid", **self.headers}

    def _client(self) -> dict[str, Any]:
        return client_settings(self.options, self._headers(), FIRST_PAUSE)


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


# ---- credentials of Google and Microsoft ----


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
