"""Credentials and personal data in a text.

In: any text. Out: the kinds that it holds, sorted; never the data itself.

How: patterns that mean one thing only. Where a pattern alone is not enough, the value must look
drawn at random, too. What documentation makes up does not count: example.com, 555 numbers, private
networks, `your-api-key`.

    from builders.checks import sensitive

    sensitive.secrets("AWS_KEY = 'AKIA…'")           # ["aws_access_key"]
    sensitive.personal_data("# by mary@uni-bremen.de")    # ["email"]
"""

from __future__ import annotations

from builders.checks.sensitive import assignments, forms, logins
from builders.checks.sensitive.personal import personal_data

__all__ = ["personal_data", "secrets"]


def secrets(text: str) -> list[str]:
    """Kinds of credentials: keys of known form, private keys, passwords and tokens with a name.

    Values with a name are found in assignments, calls, mappings, headers and addresses.
    """
    found = forms.kinds(text) | logins.kinds(text)
    return sorted(found | {"assigned_secret"} if assignments.has_secret(text) else found)
