"""Which keys an endpoint gets, in which headers, over which connection.

In: the settings of an endpoint. Out: the headers of its calls, the secrets that no message may
show, and the proxy that it is reached through.

Keys come from the environment alone. A recipe names a variable, with `api_key_env` or as
`${NAME_KEY}` in `headers`. A recipe can come from a stranger, so the name must end in `_KEY` or
`_TOKEN`, or stand in the variable SCODER_KEY_VARIABLES (names with commas between them), which only
whoever runs the command can set.

The proxy is that of `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`. We read these
ourselves: aiohttp's `trust_env` reads `~/.netrc` too, and a login from there would replace the key.

    credentials(OpenAISettings(headers={"api-key": "${AZURE_OPENAI_KEY}"})).headers["api-key"]
"""

from __future__ import annotations

import os
import re
import urllib.request
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from builders.engines.endpoint_settings import ENVIRONMENT_VALUE, OpenAISettings
from builders.engines.redaction import SHORTEST_KEY
from store.errors import InputError

DEFAULT_BASE_URL = "https://api.openai.com/v1"
ALLOWED_VARIABLES = "SCODER_KEY_VARIABLES"


class Credentials(NamedTuple):
    """Headers of every call, and what of them no message and no answer may show."""

    headers: dict[str, str]
    secrets: list[str]


def base_url(settings: OpenAISettings) -> str:
    """The address of an endpoint."""
    return settings.base_url or DEFAULT_BASE_URL


def credentials(settings: OpenAISettings) -> Credentials:
    """The headers of an endpoint. InputError where a key is missing, or would be sent in the open.

    Where a header brings a key of its own, as Azure's `api-key` does, the key of `api_key_env` is
    not sent: it belongs to another provider.
    """
    url, headers = base_url(settings), dict[str, str]()
    secrets: list[str] = []
    for name, value in settings.headers.items():
        named = ENVIRONMENT_VALUE.findall(value)
        keys = {variable: _key(variable, url, is_needed=True) for variable in named}
        secrets += keys.values()
        headers[name] = ENVIRONMENT_VALUE.sub(lambda match, keys=keys: keys[match[1]], value)  # type: ignore[misc]
    if not secrets and (key := _key(settings.api_key_env, url, is_needed=not is_local(url))):
        secrets.append(key)
        headers["Authorization"] = f"Bearer {key}"
    _require_encryption(settings, url, secrets)
    return Credentials(headers, secrets)


def proxy(settings: OpenAISettings) -> str | None:
    """The proxy that the environment names for this endpoint."""
    parts = urlsplit(base_url(settings))
    if is_local(base_url(settings)) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    named = urllib.request.getproxies_environment()
    found = named.get(parts.scheme) or named.get("all")
    if found and urlsplit(found).scheme not in ("http", "https"):
        raise InputError(
            f"the proxy for {parts.scheme} in the environment is of the kind {urlsplit(found).scheme!r}: only http and "
            f"https proxies are used. Set {parts.scheme}_proxy to one, or add {parts.hostname} to no_proxy"
        )
    return found or None


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _key(variable: str, url: str, *, is_needed: bool) -> str:
    """The key in an environment variable; '' where there is none and none is needed."""
    _require_name_of_key(variable)
    key = os.environ.get(variable, "").strip()
    if not key and is_needed:
        raise InputError(
            f"the environment variable {variable} is not set, and {url} needs a key: export the variable "
            "(with any text, if the endpoint takes no key), or name another one with api_key_env"
        )
    if not key.isascii() or not key.isprintable():
        raise InputError(f"the key in {variable} holds characters that an HTTP header cannot: copy it again")
    return key


def _require_name_of_key(variable: str) -> None:
    allowed = {name.strip() for name in os.environ.get(ALLOWED_VARIABLES, "").split(",")}
    if not re.search(r"_(KEY|TOKEN)$", variable) and variable not in allowed:
        raise InputError(
            f"{variable} is no name of a key: a recipe may send the variables that end in _KEY or _TOKEN. Rename it, or "
            f"export {ALLOWED_VARIABLES}={variable} to allow it"
        )


def _require_encryption(settings: OpenAISettings, url: str, secrets: list[str]) -> None:
    """A short text is a placeholder, for a server that takes no key."""
    has_key = any(len(secret) >= SHORTEST_KEY for secret in secrets)
    if has_key and urlsplit(url).scheme == "http" and not is_local(url) and not settings.allow_http:
        raise InputError(
            f"the key would be sent to {urlsplit(url).hostname} without encryption (http): use https, or, in a network "
            f"that you trust, set allow_http to true. If the server takes no key, export {settings.api_key_env}=none"
        )
