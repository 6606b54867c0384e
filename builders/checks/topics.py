"""What a function is about, as one word or a few: its topic.

In: the top-level modules that it uses, and its docstring. Out: a text. Functions of the same topic
make one group, so that no group fills a pool (`queries/pool_verdicts.sql`).

    topic(["numpy", "typing"], "Return the mean.")    # "numpy"
    topic([], "Return the longest words of a line.")  # "longest"

How: what it computes with tells the field best, so the modules that it uses are its topic, all
together. Modules that any field uses (`typing`, `functools`) do not count. A function without such
modules takes the first word of its docstring that says something: no verb of returning, no article,
no kind of value. Nothing is learned from a corpus, so a topic never changes with other functions.
"""

from __future__ import annotations

import re
from collections.abc import Collection


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLUMBING = _words(
    """__future__ abc builtins collections contextlib copy dataclasses enum functools inspect itertools logging
    operator types typing typing_extensions warnings"""
)
"""Modules of the language rather than of a field."""
_SAYS_NOTHING = _words(
    """a an the this that these those and or of to in for from by with on at as is are be was were been it its if when
    which whose not no all any each every some one two first last other another same new given whether into out up per
    return returns returned returning get gets set sets compute computes computed calculate calculates create creates
    make makes build builds convert converts check checks determine determines find finds generate generates construct
    constructs perform performs apply applies take takes give gives provide provides yield yields produce produces use
    uses using wrap wraps wrapper helper utility simple internal private public method function functions class object
    objects value values variable argument arguments parameter parameters result results input output data item items
    element elements type types instance instances true false none self do does can will must should may you we
    implement implements implementation handle handles run runs add adds"""
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_HEAD_CHARS = 300
"""A docstring says in its beginning what a function is about."""


def topic(modules: Collection[str], docstring: str) -> str:
    """The topic, '' if neither the modules nor the docstring tell one."""
    of_a_field = sorted({*modules} - PLUMBING)
    if of_a_field:
        return "+".join(of_a_field)
    words = (word.lower() for word in _WORD.findall(docstring[:_HEAD_CHARS]))
    return next((_singular(word) for word in words if word not in _SAYS_NOTHING), "")


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
