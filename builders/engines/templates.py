"""Which chat template an engine asks with: an adapter's own, or the base's.

In: the tokenizer of the base, the folders of the adapters, and arguments of the template. Out: a
tokenizer for each of them. The two differ in their templates alone.

    templates = Templates(read_tokenizer(base), {"step-100": "checkpoints/step-100"})
    templates.of("step-100")    # the tokenizer with the template that step-100 was trained with
    templates.of(None)          # with that of the base
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from builders.engines.tokenizing import encode_requests, end_ids
from builders.engines.types import Request
from training.chat_templates import Arguments, require_end, set_arguments
from training.errors import TrainingError


class Templates:
    """See the module."""

    def __init__(self, tokenizer: Any, adapters: Mapping[str, str], arguments: Arguments | None = None) -> None:
        self._bases, self._arguments = tokenizer.chat_template, arguments or {}
        self.adapted = with_template(tokenizer, adapters, arguments)
        """The tokenizer for the adapters; for the base, if there are none."""
        self._has_adapters = bool(adapters)

    def of(self, adapter: str | None) -> Any:
        """The tokenizer for an adapter, or None for the base.

        TrainingError for a base whose template does not take the arguments.
        """
        return self._for_base if adapter is None else self.adapted

    def encoded(self, requests: Sequence[Request]) -> list[list[int]]:
        """Prompt token ids of each request, in order."""
        found: dict[int, list[int]] = {}
        for is_base in (True, False):
            part = [n for n, request in enumerate(requests) if (request.adapter is None) == is_base]
            if part:
                tokenizer = self.of(requests[part[0]].adapter)
                found |= zip(part, encode_requests(tokenizer, [requests[n] for n in part]), strict=True)
        return [found[n] for n in range(len(requests))]

    def end_ids(self, adapter: str | None) -> frozenset[int]:
        """The token that ends an answer, at which generation stops."""
        return self._ends_of_base if adapter is None else self._ends

    @cached_property
    def _for_base(self) -> Any:
        """A base that has no template of its own is asked with that of its adapters."""
        if not self._has_adapters or not self._bases:
            return self.adapted
        own = copy.deepcopy(self.adapted)
        own.chat_template = self._bases
        set_arguments(own, self._arguments)
        return self.adapted if own.chat_template == self.adapted.chat_template else own

    @cached_property
    def _ends_of_base(self) -> frozenset[int]:
        return end_ids(self._for_base)

    @cached_property
    def _ends(self) -> frozenset[int]:
        return end_ids(self.adapted)


def with_template(tokenizer: Any, adapters: Mapping[str, str], arguments: Arguments | None = None) -> Any:
    """The tokenizer with the template that its adapters were trained with, and with the arguments.

    Adapters without a template of their own are asked with the base's. TrainingError if two of them
    are to be asked with different ones.
    """
    own = [_own_template(folder) for folder in adapters.values()]
    base: Any = tokenizer.chat_template or next(filter(None, own), None)
    found = []
    for template in own or [base]:
        tokenizer.chat_template = template or base
        set_arguments(tokenizer, arguments or {})
        found.append(tokenizer.chat_template)
    if other := next((place for place, template in enumerate(found) if template != found[0]), 0):
        one, two = (f"{name!r} ({folder})" for name, folder in list(adapters.items())[::other][:2])
        raise TrainingError(
            f"the adapters {one} and {two} were trained with different chat templates, and one engine asks with one "
            "template: ask them one after the other"
        )
    if adapters:
        require_end(tokenizer)
    return tokenizer


def _own_template(folder: str) -> str | dict[str, str] | None:
    """The template in an adapter's folder. None if it has no tokenizer, or none with a template."""
    if not Path(folder, "tokenizer_config.json").exists():
        return None
    from training import pretrained

    return pretrained.read_tokenizer(folder).chat_template
