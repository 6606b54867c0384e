"""Training text of the tiny base model: functions of installed packages, put into chat layouts.

In: the running interpreter: its standard library without the tests, and the installed packages
whose licence metadata names only MIT, BSD, Apache or PSF. Out: `harvest()` gives `Function` rows
and the packages they came from. `copy_example`, `rewrite_example`, `spec_example` and
`match_example` give lists of `Turn`. `train_tiny_base.py` uses them.

No layout uses the reply format of the synthesizer prompt. So what the demo teaches is new to this
model.
"""

import ast
import importlib.metadata
import random
import re
import string
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ALLOWED = {
    "mit", "mit license", "bsd", "bsd license", "bsd-2-clause", "bsd-3-clause", "apache", "apache-2.0", "apache 2.0",
    "apache software license", "psf-2.0", "python software foundation license",
}  # fmt: skip
SKIPPED_PARTS = {"test", "tests", "testing", "_vendor", "vendor", "site-packages", "idlelib", "lib2to3"}
# Text that the model must not see: special tokens of chats, and the tags that the demo teaches
# later.
FORBIDDEN = ("<|", "### problem", "### solution")


class Function(NamedTuple):
    """A documented function: source with and without docstring, summary, header line, name."""

    documented: str
    bare: str
    summary: str
    signature: str
    name: str


class Turn(NamedTuple):
    """One chat message; `weight` multiplies the loss of its tokens."""

    role: str
    text: str
    weight: float


# --- harvest --------------------------------------------------------------------------------------


def licence_of(distribution: importlib.metadata.Distribution) -> str | None:
    """The licence text of a distribution when it names nothing outside ALLOWED, else None."""
    meta = distribution.metadata
    classifiers = [c.split("::")[-1].strip() for c in meta.get_all("Classifier") or [] if c.startswith("License")]
    text = meta.get("License-Expression") or "; ".join(classifiers) or (meta.get("License") or "").strip()
    parts = re.split(r"\bAND\b|\bOR\b|;|[()]", text)
    names = {part.strip().lower() for part in parts if part.strip()}
    return text if names and names <= ALLOWED else None


def source_files() -> Iterator[tuple[str, str, Path]]:
    """(package with version, licence, file) of every file that may be used, in a stable order."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(stdlib.rglob("*.py")):
        if SKIPPED_PARTS.isdisjoint(path.relative_to(stdlib).parts):
            yield "Python standard library " + sysconfig.get_python_version(), "PSF-2.0", path
    for dist in sorted(importlib.metadata.distributions(), key=lambda d: d.metadata["Name"].lower()):
        licence = licence_of(dist)
        if licence is None:
            continue
        for file in sorted(dist.files or [], key=str):
            if file.suffix == ".py" and SKIPPED_PARTS.isdisjoint(file.parts) and ".." not in file.parts:
                yield f"{dist.metadata['Name']} {dist.version}", licence, Path(str(dist.locate_file(file)))


def functions_in(source: str) -> Iterator[Function]:
    """Every documented function and method of a module that survives the cut into text."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        is_documented = isinstance(node, ast.FunctionDef) and len(node.body) > 1 and ast.get_docstring(node)
        if is_documented and (row := cut(node, lines)) is not None:
            yield row


def cut(node: ast.FunctionDef, lines: list[str]) -> Function | None:
    """The text of a documented function.

    None where the docstring shares a line with code, or where a part does not parse.
    """
    doc, first = node.body[0], node.body[1]
    if doc.lineno <= node.lineno or first.lineno <= doc.end_lineno or node.end_lineno - node.lineno > 80:
        return None
    head, body = lines[node.lineno - 1 : doc.lineno - 1], lines[doc.end_lineno : node.end_lineno]
    summary = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    header = " ".join(textwrap.dedent("".join(head)).split())
    if not 12 <= len(summary) <= 240 or '"""' in summary or "\\" in summary or not header.endswith(":"):
        return None
    doc_text = lines[doc.lineno - 1 : doc.end_lineno]
    if len("".join(doc_text)) > 300:  # only the first paragraph, so that more functions fit
        doc_text = [" " * doc.col_offset + f'"""{summary}"""\n']
    while body and not body[0].strip():
        body = body[1:]
    documented, bare = (textwrap.dedent("".join(part)).strip() for part in (head + doc_text + body, head + body))
    if any(word in documented.lower() for word in FORBIDDEN) or not (parses(documented) and parses(bare)):
        return None
    return Function(documented, bare, summary, header[:-1], node.name)


def parses(code: str) -> bool:
    """True when the text is valid Python."""
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def harvest() -> tuple[list[Function], dict[str, tuple[str, int]]]:
    """All functions without exact duplicates of bare text, and {package: (licence, functions)}."""
    rows: list[Function] = []
    packages: dict[str, tuple[str, int]] = {}
    seen: set[str] = set()
    for package, licence, path in source_files():
        try:
            found = list(functions_in(path.read_text("utf-8")))
        except (SyntaxError, UnicodeDecodeError, OSError):
            continue
        before = len(rows)
        for row in found:
            if row.bare not in seen:
                seen.add(row.bare)
                rows.append(row)
        packages[package] = (licence, packages.get(package, (licence, 0))[1] + len(rows) - before)
    return rows, {name: entry for name, entry in packages.items() if entry[1]}


# --- layouts --------------------------------------------------------------------------------------

DIGIT_WEIGHT = 40.0  # a digit is one token among hundreds
PROMPT_WEIGHT = 0.25  # the first sight of a function is mostly noise for the copying circuit

REWRITE_ASKS = (
    "Summarise this function, then write it again without its docstring.",
    "Describe what this code does and repeat the code.",
    "Rewrite the function below. Start with one sentence on what it does.",
    "Read the code. Reply with a task that it solves, followed by the code.",
    "Turn this function into an exercise and its answer.",
    "What should a programmer be asked so that they write this code? Give the question and the code.",
    "Explain the code and then show it again, without comments on style.",
    "Here is a function.",
    "Create a small coding task from this function and solve it.",
    "Use this snippet as inspiration for a question. Add the answer.",
)
REPLY_TAGS = (
    ("", ""),
    ("Summary: ", ""),
    ("Summary:\n", "Code:\n"),
    ("Task: ", ""),
    ("Task\n", "Code\n"),
    ("# Task\n", "# Code\n"),
    ("## Description\n", "## Function\n"),
    ("[description]\n", "[code]\n"),
    ("**Question**\n", "**Answer**\n"),
    ("Exercise: ", "Answer:\n"),
    ("#### Goal\n", "#### Result\n"),
    ("Question. ", "Here is the code.\n\n"),
)
SUMMARY_FORMS = (
    "{summary}",
    "{summary}",
    "Write a function `{name}`. {summary}",
    "Implement `{signature}`. {summary}",
    "{summary}\nSignature: {signature}",
    "Write `{name}`: {summary}",
)
SPEC_ASKS = (
    'Write a Python function.\n\n{signature}:\n    """{summary}"""',
    "{summary}\n\nThe function starts with `{signature}`.",
    'Complete this function:\n\n{signature}:\n    """{summary}"""',
    "Implement `{name}`. {summary} Use the header `{signature}:`.",
    "Write a function `{name}` for this: {summary}",
    "{summary} Name the function `{name}`.",
)
MATCH_ASKS = (
    "Does the code match the description? Answer with a digit from 0 to 9.",
    "How well does the function fit the text? Reply with one digit, 0 is worst and 9 is best.",
    "Rate from 0 to 9 whether the code does what is asked and is whole.",
    "Grade the answer between 0 and 9.",
    "Is the code correct for this task? Give a score, 0-9.",
    "Does the last function belong to what is said and shown? One digit from 0, not at all, to 9.",
)
MATCH_NEXT = ("And here?", "The next one.", "And this?")
MATCH_FORMS = (
    "{ask}\n\nWanted: {text}\n\n{code}",
    "{code}\n\n{text}\n\n{ask}",
    "Given: {text}\n\nCode:\n{code}\n\n{ask}",
    "{ask}\n\nCode:\n{code}\n\nText: {text}\n\nDigit:",
)


def fenced(code: str, rng: random.Random, share: float = 0.6) -> str:
    """The code, in a markdown fence for a share of the calls."""
    return f"```python\n{code}\n```" if rng.random() < share else code


def copy_example(row: Function) -> list[Turn]:
    """The one layout of phase 1: a documented function, then its summary and the bare function."""
    return [Turn("user", row.documented, PROMPT_WEIGHT), Turn("assistant", f"{row.summary}\n\n{row.bare}", 1.0)]


def rewrite_example(row: Function, rng: random.Random) -> list[Turn]:
    """The same task in varied words, tags and fences."""
    ask, code = rng.choice(REWRITE_ASKS), fenced(row.documented, rng)
    prompt = f"{ask}\n\n{code}" if rng.random() < 0.7 else f"{code}\n\n{ask}"
    before, after = rng.choice(REPLY_TAGS)
    text = rng.choice(SUMMARY_FORMS).format(**row._asdict())
    return [
        Turn("user", prompt, PROMPT_WEIGHT),
        Turn("assistant", f"{before}{text}\n\n{after}{fenced(row.bare, rng)}", 1.0),
    ]


def spec_example(row: Function, rng: random.Random) -> list[Turn]:
    """Ordinary coding: header and docstring in, function out."""
    prompt = rng.choice(SPEC_ASKS).format(**row._asdict())
    return [Turn("user", prompt, PROMPT_WEIGHT), Turn("assistant", fenced(row.bare, rng, 0.5), 1.0)]


def match_example(functions: list[Function], rng: random.Random, lesson: bool) -> list[Turn]:
    """Up to six questions whether a description or code matches code.

    In a `lesson` all questions have one form. With it the model learns to compare after about 4,000
    digits. With varied forms only, it had not learned it after 10,000.
    """
    turns: list[Turn] = []
    ask = rng.choice(MATCH_ASKS)
    for _ in range(rng.randint(2, 5) if lesson else rng.randint(1, 6)):
        short = sorted(rng.sample(functions, 50), key=lambda candidate: len(candidate.documented))[
            : 20 if lesson else 8
        ]
        row, other = rng.sample(short, 2)
        turns += lesson_turns(row, other, rng) if lesson else match_turns(row, other, ask, rng)
        ask = rng.choice(MATCH_NEXT)
    return turns


def lesson_turns(row: Function, other: Function, rng: random.Random) -> list[Turn]:
    """A documented function or its named summary, bare code, and a digit.

    The digit is 9 for the same function, 0 for another, and 2 where the code is cut.
    """
    kind = rng.choice(("match",) * 4 + ("other",) * 4 + ("cut",))
    text = row.documented if rng.random() < 0.6 else f"Write `{row.name}`: {row.summary}"
    code = other.bare if kind == "other" else row.bare
    if kind == "cut":
        code = code[: rng.randrange(len(code) // 4, len(code) * 9 // 10)]
    digit = {"match": "9", "other": "0", "cut": "2"}[kind]
    return [Turn("user", f"{text}\n\n{code}", PROMPT_WEIGHT), Turn("assistant", digit, DIGIT_WEIGHT)]


def match_turns(row: Function, other: Function, ask: str, rng: random.Random) -> list[Turn]:
    """A description, code or both, then a function and a digit.

    The digit is 9 for whole and fitting, 0 for another function, 1 for shuffled words, 2 for cut
    code, and 3 for a doubled line.
    """
    kind = rng.choice(("match", "match", "match", "other", "other", "other", "cut", "spoilt"))
    reference = rng.choice(("text", "text", "text", "code", "code", "both"))
    digit = {"match": "9", "other": "0", "cut": "2", "spoilt": "3" if reference == "code" else "1"}[kind]
    code = other.bare if kind == "other" else row.bare
    if kind == "cut":
        code = code[: rng.randrange(len(code) // 4, len(code) * 9 // 10)]
    if digit == "3":
        lines = code.split("\n")
        at = rng.randrange(len(lines))
        code = "\n".join([*lines[: at + 1], *lines[at:]])
    told = other if kind == "other" and reference == "both" and rng.random() < 0.5 else row
    summary = rng.choice(SUMMARY_FORMS).format(**told._asdict())
    if digit == "1":
        summary = " ".join(rng.sample(summary.split(), len(summary.split())))
    original = fenced(row.documented, rng)
    text = {"text": summary, "code": original, "both": f"{original}\n\n{summary}"}[reference]
    prompt = rng.choice(MATCH_FORMS).format(ask=ask, text=text, code=fenced(code, rng))
    return [Turn("user", prompt, PROMPT_WEIGHT), Turn("assistant", digit, DIGIT_WEIGHT)]


# --- templated functions --------------------------------------------------------------------------

# name choices | parameters | summary | body. $a, $b and $c become random parameter names, `;` ends
# a line, and `>` indents.
SIMPLE = """
add sum_of plus|a b|Return the sum of $a and $b.|return $a + $b
subtract difference minus|a b|Return $a minus $b.|return $a - $b
multiply product times|a b|Return $a times $b.|return $a * $b
mean_of_two middle midpoint|a b|Return the mean of $a and $b.|return ($a + $b) / 2
larger bigger max_of_two|a b|Return the larger of $a and $b.|return $a if $a > $b else $b
smaller lesser min_of_two|a b|Return the smaller of $a and $b.|return $a if $a < $b else $b
clamp limit bound|a b c|Limit $a to the range from $b to $c.|return max($b, min($a, $c))
reverse backwards flip|s|Return $a in reverse order.|return $a[::-1]
maximum largest biggest_item|v|Return the largest item of $a.|return max($a)
minimum smallest least_item|v|Return the smallest item of $a.|return min($a)
total add_all sum_items|v|Return the sum of all items of $a.|return sum($a)
average mean_of|v|Return the mean of the items of $a.|return sum($a) / len($a)
count_vowels num_vowels vowels_in|s|Count the vowels in $a.|return sum(1 for ch in $a if ch in "aeiou")
count_digits num_digits|s|Count the digits in $a.|return sum(1 for ch in $a if ch.isdigit())
count_spaces num_spaces|s|Count the spaces in $a.|return $a.count(" ")
is_even even|a|Return True if $a is even.|return $a % 2 == 0
is_odd odd|a|Return True if $a is odd.|return $a % 2 == 1
is_positive positive|a|Return True if $a is greater than zero.|return $a > 0
square squared|a|Return the square of $a.|return $a * $a
cube cubed|a|Return the cube of $a.|return $a * $a * $a
double twice|a|Return two times $a.|return 2 * $a
negate opposite|a|Return $a with the other sign.|return -$a
absolute magnitude|a|Return the absolute value of $a.|return abs($a)
is_palindrome palindrome|s|Return True if $a reads the same backwards.|return $a == $a[::-1]
unique without_duplicates dedupe|v|Return the items of $a without repeats, in order.|return list(dict.fromkeys($a))
evens only_even keep_even|v|Return the even numbers of $a.|return [x for x in $a if x % 2 == 0]
positives only_positive|v|Return the positive numbers of $a.|return [x for x in $a if x > 0]
squares square_all|v|Return the squares of the numbers in $a.|return [x * x for x in $a]
lengths all_lengths|v|Return the length of each item of $a.|return [len(x) for x in $a]
first head first_item|v|Return the first item of $a.|return $a[0]
last final last_item|v|Return the last item of $a.|return $a[-1]
uppercase to_upper shout|s|Return $a in upper case.|return $a.upper()
lowercase to_lower whisper|s|Return $a in lower case.|return $a.lower()
join_words glue|v|Join the words of $a with a space.|return " ".join($a)
split_words words_of|s|Split $a into a list of words.|return $a.split()
count_words num_words|s|Count the words in $a.|return len($a.split())
repeat repeated|s n|Repeat $a $b times.|return $a * $b
starts_with has_prefix|s t|Return True if $a begins with $b.|return $a.startswith($b)
contains has_item|v a|Return True if $a has the item $b.|return $b in $a
count_item how_many|v a|Count how often $b is in $a.|return $a.count($b)
sort_items in_order sorted_copy|v|Return the items of $a from small to large.|return sorted($a)
sort_down from_large|v|Return the items of $a from large to small.|return sorted($a, reverse=True)
factorial product_up_to|n|Return the product of the numbers from 1 to $a.|result = 1;for i in range(2, $a + 1):;>result *= i;return result
sum_to triangle|n|Return the sum of the numbers from 1 to $a.|return $a * ($a + 1) // 2
power raise_to|a n|Return $a to the power of $b.|return $a ** $b
remove_item without drop_item|v a|Return $a without the items equal to $b.|return [x for x in $a if x != $b]
merge combine|d e|Merge the dictionaries $a and $b.|return {**$a, **$b}
swap_keys invert|d|Swap the keys and values of $a.|return {value: key for key, value in $a.items()}
is_empty empty|v|Return True if $a has no items.|return len($a) == 0
to_celsius celsius|a|Convert $a from Fahrenheit to Celsius.|return ($a - 32) * 5 / 9
area rectangle_area|a b|Return the area of a rectangle with sides $a and $b.|return $a * $b
common shared_items|v w|Return the items of $a that are also in $b.|return [x for x in $a if x in $b]
"""
PARAMETERS = {
    "a": "a x number value n amount first", "b": "b y other step low second", "c": "c z high end upper limit",
    "s": "s text string word line message", "t": "prefix start t part", "n": "n count times size",
    "v": "items values numbers data xs sequence", "w": "others ys second_list allowed",
    "d": "d table mapping settings", "e": "other extra more updates",
}  # fmt: skip


def simple_function(rng: random.Random) -> Function:
    """A random variant of one SIMPLE template: random name, random parameter names."""
    names, kinds, summary, body = rng.choice(SIMPLE.strip().split("\n")).split("|")
    params: list[str] = []
    for kind in kinds.split():
        params.append(rng.choice([word for word in PARAMETERS[kind].split() if word not in params]))
    fill = dict(zip("abc", params, strict=False))
    summary, body = (string.Template(text).substitute(fill) for text in (summary, body))
    code = "\n".join(
        "    " + line.replace(">", "    ", 1) if line[0] == ">" else "    " + line for line in body.split(";")
    )
    name = rng.choice(names.split())
    signature = f"def {name}({', '.join(params)})"
    return Function(f'{signature}:\n    """{summary}"""\n{code}', f"{signature}:\n{code}", summary, signature, name)
