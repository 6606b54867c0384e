"""In which forms a model can be asked: in a chat, or with a text to continue.

In: the engine's settings and a model. Out: the forms that it cannot be asked in, with the reason.
Nothing is asked that would count: an endpoint gets a question of one token.

    left_out(TransformersSettings(), "recipes/tiny-base", forms=("chat", "completion"))    # {}
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from builders.engines import credentials
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.opening import open_engine, require_weights
from builders.engines.settings import EngineSettings
from builders.engines.types import Form, Request
from store.errors import InputError, JobError, UnreachableError

_QUESTIONS = {
    "chat": Request("chat", messages=({"role": "user", "content": "Say yes."},), max_tokens=1, temperature=0),
    "completion": Request("completion", prompt="def add(a, b):", max_tokens=1, temperature=0),
}


def left_out(
    settings: EngineSettings,
    model: str,
    adapters: Mapping[str, str] | None = None,
    revision: str | None = None,
    *,
    forms: Sequence[Form],
    answered: Collection[Form] = (),
) -> dict[Form, str]:
    """The forms, of those given, that a model cannot be asked in, each with the reason.

    InputError or JobError if it can be asked in none. A local model without a chat template has no
    chat. An endpoint is asked only if there are two forms: then one of them may go on alone. It is
    not asked for the forms that it has `answered` before, and not if it answers in batches, as that
    may take a day.
    """
    if settings.is_endpoint:
        is_asked = len(forms) > 1 and not settings.is_collected_later
        unknown = [form for form in forms if form not in answered]
        found = _refused(settings, model, adapters or {}, unknown) if is_asked else {}
    else:
        reason = without_chat(model, adapters, revision) if "chat" in forms else None
        found = {"chat": reason} if reason else {}
    if len(found) == len(forms):
        kind = JobError if settings.is_endpoint else InputError
        raise kind(f"{model} cannot be asked in the form {' or '.join(forms)}: {'; '.join(found.values())}")
    return found


def without_chat(model: str, adapters: Mapping[str, str] | None = None, revision: str | None = None) -> str | None:
    """Why a local model cannot be asked in a chat. None if it can."""
    # before transformers, which takes seconds to import
    require_weights(model, adapters or {}, revision)
    from builders.engines.templates import with_template
    from training import pretrained

    tokenizer = with_template(pretrained.read_tokenizer(model, revision), adapters or {})
    return None if tokenizer.chat_template else f"the tokenizer of {model} has no chat template"


def require_host(settings: EngineSettings) -> None:
    """UnreachableError if the name of an endpoint's host is not known."""
    if not isinstance(settings, OpenAISettings) or settings.base_url is None or credentials.proxy(settings):
        return  # a proxy knows hosts that this machine does not
    host = urlsplit(settings.base_url).hostname
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise UnreachableError(
            f"the host {host!r} of base_url {settings.base_url} is not known ({error.strerror or error}): check the "
            "address, and the network of this machine"
        ) from None


def require_key(settings: EngineSettings) -> None:
    """InputError if an endpoint needs a key, and there is none that may be sent."""
    if isinstance(settings, OpenAISettings):
        credentials.credentials(settings)


def _refused(
    settings: EngineSettings, model: str, adapters: Mapping[str, str], forms: Sequence[Form]
) -> dict[Form, str]:
    found: dict[Form, str] = {}
    for form in forms:
        reason = _refusal(settings, model, adapters, form)
        if reason is not None:
            found[form] = f"the endpoint takes no {form} request ({reason})"
    return found


def _refusal(settings: EngineSettings, model: str, adapters: Mapping[str, str], form: Form) -> str | None:
    # An answer 404 ends an engine, so that each question has its own.
    with open_engine(settings, model, adapters) as engine:
        try:
            (answer,) = engine.generate([_QUESTIONS[form]])
        except InputError as error:
            return str(error)
    if answer.error is not None and answer.error.startswith("gave up after"):
        raise UnreachableError(f"the endpoint does not answer: {answer.error}. Run the same command again later")
    return answer.error
