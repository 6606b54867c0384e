"""What each status means that is no answer: the run ends, one request is refused, or it may pass.

In: a status with its headers and its text, of an endpoint or of a proxy before it. Out: the error
that it means for the call. What ends the run goes to `stop`, with its reason.

The raw text decides. Only after that, keys are hidden in what people read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from builders.engines import pace, proxies, refusals
from builders.engines.complaints import named, own_words
from builders.engines.connection import ProxyError, StatusError
from builders.engines.dialect import LADDERS
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.gate import StoppedError
from builders.engines.malformed import Json
from builders.engines.proxies import Proxy
from builders.engines.refusals import MissingError, PassingError, RefusedError, short

MISSING = (400, 403, 404, 410, 422)
"""How providers refuse an id that they do not know, or that belongs to another account."""
Failure = RefusedError | PassingError | StoppedError


class Statuses:
    """See the module. `has_answered` says that the key was good before."""

    def __init__(
        self,
        settings: OpenAISettings,
        address: str,
        proxy: Proxy | None,
        redact: Callable[[str], str],
        stop: Callable[[Exception], None],
    ) -> None:
        self.has_answered = False
        self._address, self._proxy, self._redact, self._stop = address, proxy, redact, stop
        self._timeout_s = settings.timeout_s
        self._keys = f"the variable {settings.api_key_env}, and headers"
        # Over plain http, the answer of a proxy looks like one of the endpoint.
        self._or_proxy = f", or {proxy}," if proxy and urlsplit(address).scheme == "http" else ""

    def error_of(self, path: str, said: Json, refused: StatusError, waited_s: float = 0.0) -> Failure:
        """The error of an answer that is not 2xx. `said` is the body that was sent, and `waited_s`
        how long ago."""
        status, headers, text = refused.status, refused.headers, refused.text
        if isinstance(refused, ProxyError) or status in proxies.ALWAYS_A_PROXY:
            return self._of_proxy(status, headers, short(self._redact(text)))
        return self.failure(path, said, status, headers, text, waited_s)

    def require_there(self, refused: StatusError) -> None:
        """MissingError where a thing is refused that was there before. The run does not end."""
        if refused.status in MISSING and not isinstance(refused, ProxyError):
            raise MissingError(short(f"{refused.status}: {own_words(self._redact(refused.text)).strip()}")) from None

    def failure(
        self, path: str, said: Json, status: int, headers: Mapping[str, str], text: str, waited_s: float
    ) -> Failure:
        """The error of a status of the endpoint, also of one that stands inside of an answer."""
        headers = pace.as_retry_after(status, headers, refusals.retry_after_s({}, text))
        hidden = self._redact(text)
        # A 403 that names a parameter teaches what to leave out, as a 400 does.
        is_lesson = status == 403 and bool(named(text, said, LADDERS))
        if is_lesson or refusals.is_of_one_request(status, text, has_answered=self.has_answered):
            return refusals.failure(status, text, hidden, headers)
        where = f"{self._address}/{path}{self._or_proxy} answered {status}"
        if reason := refusals.end_of_run(status, text, where, said.get("model"), self._keys, hidden):
            return self._stopped(reason)
        is_paid = refusals.may_be_billed(status, waited_s, self._timeout_s)
        return refusals.failure(status, text, hidden, headers, is_paid=is_paid)

    def _of_proxy(self, status: int, headers: Mapping[str, str], said: str) -> Failure:
        host = urlsplit(self._address).hostname or ""
        if reason := proxies.end_of_run(self._proxy, status, said, host):
            return self._stopped(reason)
        where = self._proxy or "a proxy on the way"
        message = short(f"{where} answered {status} ({said!r}), so nothing reached {host}")
        return PassingError(message, status=status, retry_after_s=pace.wait_s(headers))

    def _stopped(self, reason: Exception) -> StoppedError:
        self._stop(reason)
        return StoppedError()
