"""A template with a clock of its own prints the day that it is given, in every form."""

from datetime import datetime

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from training.template_clock import on_day

DAYS = (datetime(2024, 7, 26), datetime(2001, 2, 3, 4, 5, 6))
ENVIRONMENT = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)


def rendered(template: str) -> str:
    return ENVIRONMENT.from_string(template).render(messages=[{"content": "x"}])


@pytest.mark.parametrize("form", ["%d %b %Y", "%Y-%m-%d", "%A, %-d %B", "%H:%M:%S %p", "%j %y %%d", "%F", "day"])
@pytest.mark.parametrize("day", DAYS)
def test_every_form_prints_that_day(form: str, day: datetime) -> None:
    assert rendered(on_day("{{ strftime_now('" + form + "') }}", day)) == day.strftime(form)


def test_the_clock_is_seen_in_loops_and_as_defined() -> None:
    template = (
        "  {% if strftime_now is defined %}\n{% for m in messages %}\n"
        "{{ m.content }} {{ strftime_now('%Y') }}\n{% endfor %}\n{% endif %}\n"
    )
    assert rendered(on_day(template, DAYS[1])) == "x 2001\n"


def test_a_template_without_a_clock_stays_as_it_is() -> None:
    assert on_day("{{ messages[0].content }}", DAYS[0]) == "{{ messages[0].content }}"
