"""Through which proxy an endpoint is reached, and what it means when the proxy says no.

In: the address of an endpoint, and the environment (`http_proxy`, `https_proxy`, `all_proxy`,
`no_proxy`). Out: a `Proxy` whose address holds no user and no password: these go into a header of
their own, so no message of a library can show them.

We read the variables ourselves: aiohttp's `trust_env` reads `~/.netrc` too, and a login from there
would replace the key.

    proxy_of("https://llm.example.com/v1")    # Proxy('http://proxy.example:3128', 'https_proxy', …)
"""

from __future__ import annotations

import os
import urllib.request
from base64 import b64encode
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from store.errors import DeniedError, InputError

LOGIN_HEADER = "Proxy-Authorization"
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""What a proxy answers where it may let us through next time."""
ALWAYS_A_PROXY = (407, 511)
"""What no endpoint answers: a proxy wants a login, or the network does."""


class Proxy(NamedTuple):
    """A proxy: its address without a login, the variable that names it, and the login.

    `login` is the value of its header, '' where there is none. `secrets` are the user and the
    password, in all forms in which a message could show them.
    """

    url: str
    variable: str
    login: str = ""
    secrets: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The login as it is sent, without the word before it."""
        return self.login.removeprefix("Basic ")

    def __str__(self) -> str:
        return f"the proxy {self.url} (of the variable {self.variable})"


def proxy_of(url: str) -> Proxy | None:
    """The proxy that the environment names for an address. InputError where it cannot be used."""
    parts = urlsplit(url)
    if is_local(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    named = urllib.request.getproxies_environment()
    kind = parts.scheme if named.get(parts.scheme) else "all"
    value = named.get(kind)
    if not value:
        return None
    variable = _variable(f"{kind}_proxy", value)
    # curl and others take an address without its scheme, too.
    scheme, separator, _ = value.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise InputError(
            f"the proxy in the variable {variable} is of the kind {scheme!r}: only http and https proxies are used. "
            f"Set {variable} to one, or add {parts.hostname} to no_proxy"
        )
    return _read(value if separator else f"http://{value}", variable)


def end_of_run(proxy: Proxy | None, status: int, said: str, host: str) -> Exception | None:
    """What it means that a proxy answers so, and not the endpoint. None where it may pass.

    `said` are its words, with nothing secret in them.
    """
    if status in PASSING:
        return None
    words = f" ({said!r})" if said else ""
    variable = proxy.variable if proxy else "https_proxy"
    where = f"{proxy or 'a proxy on the way'} answered {status}{words}, so nothing reaches {host}"
    way = f"as in {variable}=http://NAME:PASSWORD@host:port, with %XX for special characters"
    if status in (401, 407):
        return DeniedError(f"{where}: it asks for another user name and password. Write them into the variable, {way}")
    if status == 403:
        return DeniedError(f"{where}: ask whoever runs it to allow {host}, or add {host} to no_proxy to go without it")
    return InputError(f"{where}: check the address in {variable}, or add {host} to no_proxy to go without it")


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _variable(name: str, value: str) -> str:
    """The variable that holds this value, in the capitals in which it is written."""
    return next((one for one in os.environ if one.lower() == name and os.environ[one] == value), name)


def _read(value: str, variable: str) -> Proxy:
    """The parts of an address. No message may quote it, and so none of Python's: it may hold a
    password."""
    unreadable = InputError(
        f"the variable {variable} holds no address of a proxy that can be read: write it as http://host:port or "
        "http://NAME:PASSWORD@host:port, with %XX for special characters"
    )
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise unreadable from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    # A sign such as / or # ends the name of a host, so the rest of a password would be a path.
    if not host or ":" in user or "@" in parts.path + parts.query + parts.fragment:
        raise unreadable
    url = f"{parts.scheme}://" + (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if not user and not password:
        return Proxy(url, variable)
    login = b64encode(f"{user}:{password}".encode(errors="surrogateescape")).decode()
    forms = [
        (raw, plain, quote(plain), quote(plain, safe=""))
        for raw, plain in ((parts.username, user), (parts.password, password))
    ]
    secrets = dict.fromkeys(form for one in forms for form in one if form)
    return Proxy(url, variable, f"Basic {login}", (login, *secrets))
