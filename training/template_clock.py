"""The day that a chat template prints.

Some templates ask transformers for the clock, such as Llama 3.1's: `strftime_now("%d %b %Y")`. Then
a prompt changes overnight. Here such a template gets a clock of its own, as a macro in front of it.
Nothing from outside is needed: newer transformers (seen with 5.24) hand no functions to templates.

    on_day("{{ strftime_now('%d %b %Y') }}", datetime(2024, 7, 26))    # renders as 26 Jul 2024
"""

from datetime import datetime
from functools import lru_cache
from string import ascii_letters

CLOCK = "strftime_now"


def on_day(template: str, day: datetime) -> str:
    """The template, in which it is always that day. One that asks for no clock stays as it is."""
    return _macro(day) + template if CLOCK in template else template


@lru_cache(maxsize=8)
def _macro(day: datetime) -> str:
    """The macro replaces every directive of `strftime`. It ends in a line break, which trim_blocks
    removes.
    """
    directives = [f"%{flag}{letter}" for flag in ("-", "") for letter in ascii_letters]
    values = {directive: day.strftime(directive) for directive in directives}
    replaced = "".join(
        f".replace({directive!r}, {value!r})" for directive, value in values.items() if value != directive
    )
    parts = (
        f"{{% for part in form.split('%%') %}}{{{{ part{replaced} }}}}{{{{ '' if loop.last else '%' }}}}{{% endfor %}}"
    )
    return f"{{% macro {CLOCK}(form) %}}{parts}{{% endmacro %}}\n"
