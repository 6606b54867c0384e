"""The trial of a chat template, as a process of its own that only so much time and memory has.

In: JSON on stdin with the templates, the variables and the chats that they are rendered with, and
seconds of processor time as argument. Out: exit code 0 if rendering ends, also if it ends in an
error of the template: whether a template takes a system turn is for others to find out. Exit code 3
if a template draws by lot, and on stdout what it draws with. The environment is that of
transformers, which is too slow to import for a trial.

    echo '{"templates": ["{{ messages }}"], "variables": [{}], "chats": [[]]}' |
        python -P training/template_trial.py 10
"""

import json
import math
import resource
import sys
import time
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 2**31
DRAWS = 3
"""The exit code for a template that draws by lot."""


class Generation(Extension):
    """The block that marks what an assistant said. It changes nothing in the text."""

    tags = {"generation"}  # noqa: RUF012 jinja2 declares it as an attribute of instances

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # a call, as in transformers: what is set within the block is not known after it
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Any) -> Any:
        return caller()


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> ImmutableSandboxedEnvironment:
    """What templates are parsed and rendered in."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def main() -> None:
    """Render all chats; end with the signal of the system where that takes too long."""
    # Python's own start is not the template's.
    seconds = int(sys.argv[1]) + math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    given = json.loads(sys.stdin.read())
    for text in given["templates"]:
        _try(text, given["variables"], given["chats"])


def _try(text: str, variables: list[dict[str, str]], chats: list[Any]) -> None:
    """One template with all variables and chats. An error in one of them does not end the rest."""
    made = environment()
    made.filters["random"] = lambda *_: _end_for_drawing("the filter random")
    try:
        _require_no_lot(made.parse(text))
        template = made.from_string(text)
    except jinja2.TemplateError:
        return
    for chat in chats:
        for known in variables:
            for is_prompt in (True, False):
                _render(template, chat, is_prompt, known)


def _render(template: Any, chat: Any, is_prompt: bool, known: dict[str, str]) -> None:
    try:
        template.render(messages=chat, tools=None, documents=None, add_generation_prompt=is_prompt, **known)
    except MemoryError:
        sys.exit("out of memory")
    except Exception:  # a template can raise anything, and it has ended
        return


def _require_no_lot(tree: nodes.Template) -> None:
    """End for a template that draws by lot, also where no chat of the trial gets."""
    if any(node.name == "random" for node in tree.find_all(nodes.Filter)):
        _end_for_drawing("the filter random")
    if any(node.name == "lipsum" for node in tree.find_all(nodes.Name)):
        _end_for_drawing("lipsum")


def _end_for_drawing(what: str) -> NoReturn:
    print(what)
    sys.exit(DRAWS)


if __name__ == "__main__":
    main()
