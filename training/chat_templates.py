"""Chat templates: whether they end, and the arguments that they are given.

In: a tokenizer. A template is a program of whoever made the model, and Jinja sets it no limit of
time. So a template that was not seen before is rendered in a child process (`template_trial.py`),
which may compute for ten seconds. A loop that depends on the length of a text is not found.

Arguments such as `enable_thinking: false` are written into the template, in front of it:

    {% if enable_thinking is not defined %}{% set enable_thinking = False %}{% endif %}

So they hold wherever the tokenizer is used. A model that was trained with them is saved with them,
and vLLM's server renders its prompts as they were in training.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from training.errors import TrainingError

Arguments = Mapping[str, bool | int | float | str]

SECONDS = 10
"""Processor time that the trial of a template may take. A real one takes a few milliseconds."""
WALL_SECONDS = 120
"""For a machine so busy that ten seconds of processor time take long."""
TRIAL = Path(__file__).with_name("template_trial.py")


def require_end(tokenizer: Any) -> None:
    """TrainingError for a tokenizer with a chat template that does not end in time."""
    for name, template in _named(tokenizer.chat_template).items():
        if (reason := _trouble(template)) is not None:
            raise TrainingError(
                f"the chat template {name!r} of {tokenizer.name_or_path} {reason} for four short conversations. Give "
                "the tokenizer another template (chat_template.jinja in its folder)"
            )


def set_arguments(tokenizer: Any, arguments: Arguments) -> None:
    """Write the arguments in front of the tokenizer's template.

    TrainingError for one that the template does not read: it would change nothing.
    """
    given, at = tokenizer.chat_template, tokenizer.name_or_path
    if not arguments:
        return
    if given is None:
        raise TrainingError(
            f"template_arguments {', '.join(arguments)} are given, but {at} has no chat template: leave them out"
        )
    with_them = {name: _with(template, arguments, at) for name, template in _named(given).items()}
    tokenizer.chat_template = with_them if isinstance(given, dict) else with_them["default"]


def _named(given: str | dict[str, str] | None) -> dict[str, str]:
    """The templates of a tokenizer by their names. Most have one."""
    if isinstance(given, dict):
        return given
    return {} if given is None else {"default": given}


def _with(template: str, arguments: Arguments, at: str) -> str:
    # The line break goes with the block before it. So the template still begins a line.
    head = "".join(_setting(name, value) for name, value in sorted(arguments.items())) + "\n"
    if template.startswith(head):
        return template
    unknown = [name for name in arguments if not re.search(rf"\b{re.escape(name)}\b", template)]
    if unknown:
        raise TrainingError(
            f"the chat template of {at} does not read {', '.join(unknown)}, so template_arguments would change "
            "nothing: correct the name, or leave it out"
        )
    return head + template


def _setting(name: str, value: bool | int | float | str) -> str:
    return f"{{% if {name} is not defined %}}{{% set {name} = {value!r} %}}{{% endif %}}"


@cache
def _trouble(template: str) -> str | None:
    """What a template did in its trial instead of ending. None if it ended, also in an error."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(TRIAL), str(SECONDS)],
            input=json.dumps(template),
            text=True,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {WALL_SECONDS} s"
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        return f"did not end within {SECONDS} s of processor time"
    return f"could not be rendered ({child.stderr.strip()[-200:]})"
