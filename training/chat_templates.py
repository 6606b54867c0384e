"""Chat templates: whether they end, and the arguments that they are given.

In: a tokenizer. A template is a program of whoever made the model, and Jinja sets it no limit of
time. So a template that was not seen before is rendered in a child process (`template_trial.py`),
which may compute for ten seconds. It is rendered there as it is later: with the same variables, on
the same days, and with the turns by which `encoding.py` finds it out. A loop that depends on the
length of a text is not found.

Arguments such as `enable_thinking: false` are written into the template, in front of it:

    {% if enable_thinking is not defined %}{% set enable_thinking = False %}{% endif %}

So they hold wherever the tokenizer is used. A model that was trained with them is saved with them,
and vLLM's server renders its prompts as they were in training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, meta

from training.encoding import PROBE_DATES, PROBES
from training.errors import TrainingError
from training.settings import RESERVED
from training.template_clock import on_day
from training.template_trial import DRAWS, environment

Arguments = Mapping[str, bool | int | float | str]

SECONDS = 10
"""Processor time that the trial of a template may take. A real one takes a few milliseconds."""
WALL_SECONDS = 120
"""For a machine so busy that ten seconds of processor time take long."""
TRIAL = Path(__file__).with_name("template_trial.py")

_USER, _ANSWER = {"role": "user", "content": "Add 1 and 2."}, {"role": "assistant", "content": "3"}
_SYSTEM = {"role": "system", "content": "Be short."}
CHATS = (*PROBES, (_USER,), (_USER, _ANSWER), (_SYSTEM, _USER, _ANSWER), (_USER, _ANSWER) * 8)
"""The conversations of a trial."""


def require_end(tokenizer: Any) -> None:
    """TrainingError for a tokenizer with a chat template that does not end in time, that draws by
    lot, or of which nobody knows which one is meant.
    """
    at, templates = tokenizer.name_or_path, _named(tokenizer.chat_template)
    if templates and "default" not in templates:
        raise TrainingError(
            f"the chat templates of {at} are {', '.join(map(repr, templates))}, and none is named 'default': write the "
            "one that is meant into chat_template.jinja in its folder"
        )
    for name, template in templates.items():
        if (reason := _trouble(_trial(tokenizer, template))) is not None:
            raise TrainingError(
                f"the chat template {name!r} of {at} {reason}. Give the tokenizer another template "
                "(chat_template.jinja in its folder)"
            )


def set_arguments(tokenizer: Any, arguments: Arguments) -> None:
    """Write the arguments in front of the tokenizer's template.

    TrainingError for one that the template does not read: it would change nothing. Also for a
    template that no longer ends with them.
    """
    given, at = tokenizer.chat_template, tokenizer.name_or_path
    if not arguments:
        return
    if given is None:
        raise TrainingError(
            f"template_arguments {', '.join(arguments)} are given, but {at} has no chat template: leave them out"
        )
    _require_no_quoted_truth(arguments)
    with_them = {name: _with(template, arguments, tokenizer) for name, template in _named(given).items()}
    tokenizer.chat_template = with_them if isinstance(given, dict) else with_them["default"]
    require_end(tokenizer)


def _named(given: str | dict[str, str] | None) -> dict[str, str]:
    """The templates of a tokenizer by their names. Most have one."""
    if isinstance(given, dict):
        return given
    return {} if given is None else {"default": given}


def _with(template: str, arguments: Arguments, tokenizer: Any) -> str:
    # The line break goes with the block before it. So the template still begins a line.
    head = "".join(_setting(name, value) for name, value in sorted(arguments.items())) + "\n"
    if template.startswith(head):
        return template
    at = tokenizer.name_or_path
    taken = {*RESERVED, *tokenizer.SPECIAL_TOKENS_ATTRIBUTES, *tokenizer.special_tokens_map}
    if given := sorted(arguments.keys() & taken):
        raise TrainingError(
            f"template_arguments: {', '.join(given)} is given to every chat template by transformers, so it would "
            "change nothing here: leave it out"
        )
    if unknown := sorted(arguments.keys() - _open_names(template, at)):
        raise TrainingError(
            f"the chat template of {at} does not read {', '.join(unknown)}, so template_arguments would change "
            "nothing: correct the name, or leave it out"
        )
    return head + template


def _open_names(template: str, at: str) -> set[str]:
    """The names that a template reads and that it does not define itself."""
    try:
        return meta.find_undeclared_variables(environment().parse(template))
    except TemplateError as error:
        raise TrainingError(f"the chat template of {at} cannot be parsed: {error}") from None


def _require_no_quoted_truth(arguments: Arguments) -> None:
    """TrainingError for a text such as "false": a template takes every text for true."""
    for name, value in arguments.items():
        if isinstance(value, str) and (meant := value.strip().lower()) in ("true", "false"):
            raise TrainingError(
                f"template_arguments: {name} is the text {value!r}, which is no truth value for a template: write "
                f"{name}: {meant}, without quotes"
            )


def _setting(name: str, value: bool | int | float | str) -> str:
    return f"{{% if {name} is not defined %}}{{% set {name} = {value!r} %}}{{% endif %}}"


def _trial(tokenizer: Any, template: str) -> str:
    """What the child is told. A training gives a tokenizer without a pad token its eos as one."""
    known = tokenizer.special_tokens_map
    padded = {"pad_token": tokenizer.eos_token, **known} if tokenizer.eos_token else known
    days = dict.fromkeys(on_day(template, day) for day in PROBE_DATES)
    variables = [known, padded] if padded != known else [known]
    return json.dumps({"templates": list(days), "variables": variables, "chats": CHATS})


@cache
def _trouble(trial: str) -> str | None:
    """What a template did in its trial instead of ending. None if it ended, also in an error."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(TRIAL), str(SECONDS)],
            input=trial,
            text=True,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {WALL_SECONDS} s for {len(CHATS)} short conversations"
    if child.returncode == 0:
        return None
    if child.returncode == DRAWS:
        return f"uses {child.stdout.strip()}, so its prompts change by themselves"
    if child.returncode < 0:
        return f"did not end within {SECONDS} s of processor time for {len(CHATS)} short conversations"
    return f"could not be rendered ({child.stderr.strip()[-200:]})"
