"""The trial of a chat template, as a process of its own that only so much time and memory has.

In: a template as JSON on stdin, and seconds of processor time as argument. Out: exit code 0 if
rendering ends, also if it ends in an error of the template: whether a template takes a system turn
is for others to find out. The environment is that of transformers, which is too slow to import for
a trial.

    echo '"{{ messages }}"' | python -P training/template_trial.py 10
"""

import json
import resource
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 2**31

USER, ANSWER = {"role": "user", "content": "Add 1 and 2."}, {"role": "assistant", "content": "3"}
SYSTEM = {"role": "system", "content": "Be short."}
CHATS = ([USER], [USER, ANSWER], [SYSTEM, USER, ANSWER], [USER, ANSWER] * 8)


class Generation(Extension):
    """The block that marks what an assistant said. It changes nothing in the text."""

    tags = {"generation"}  # noqa: RUF012 jinja2 declares it as an attribute of instances

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = lambda value, **options: json.dumps(value, **options)
    made.globals["raise_exception"] = _refuse
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def main() -> None:
    """Render all chats; end with the signal of the system where that takes too long."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        template = _environment().from_string(json.loads(sys.stdin.read()))
    except jinja2.TemplateError:
        return
    for chat in CHATS:
        for is_prompt in (True, False):
            _render(template, chat, is_prompt)


def _render(template: Any, chat: Any, is_prompt: bool) -> None:
    try:
        template.render(messages=chat, add_generation_prompt=is_prompt, bos_token="<s>", eos_token="</s>")
    except MemoryError:
        sys.exit("out of memory")
    except Exception:  # a template can raise anything, and it has ended
        return


if __name__ == "__main__":
    main()
