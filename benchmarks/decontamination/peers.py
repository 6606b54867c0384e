"""The matching rules of other decontaminations, in a few lines each.

They run beside ours on the same texts, in `recall.py`. In: tasks. Out: per peer a function from a
text to the ids of the tasks that it would flag. These are the rules, not the programs. Speed is
measured against the programs, in `speed.py`.

    substring   github.com/bigcode-project/bigcode-dataset, decontamination/find_substrings.py
                (Apache-2.0): lower-cased benchmark strings inside of the lower-cased text;
                HumanEval's docstrings and solutions, MBPP's tests and code
    13-gram     GPT-3 (arXiv 2005.14165, appendix C), as in NeMo Curator's task decontamination: any
                shared n-gram of 13 words, or of all words of a text with 8 to 12
    12-gram     github.com/huggingface/datatrove, pipeline/decont/n_grams.py (Apache-2.0), with
                `find_query_ngrams`: any shared n-gram of 12 tokens after lower-casing, digits as 0
                and punctuation as space; statement and solution are indexed apart
    TLI         github.com/banksy23/XCoder (arXiv 2409.03810): the share of a task's 4- and 5-grams
                of words in the text, 0.05 or more
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from builders.code.syntax import parsed
from builders.harness.tasks import Task

Rule = Callable[[str], set[str]]


def substring(tasks: Sequence[Task]) -> Rule:
    """BigCode's substring filter."""
    strings = [(text.lower(), task.task_id) for task in tasks for text in _strings(task)]

    def flagged(text: str) -> set[str]:
        low = text.lower()
        return {task_id for string, task_id in strings if string in low}

    return flagged


def _strings(task: Task) -> list[str]:
    if task.task_id.startswith("HumanEval"):
        docstring = re.search(r"(?:\"\"\"|''')(.*?)(?:\"\"\"|''')", task.prompt, re.DOTALL)
        found = [docstring.group(1) if docstring else "", task.solution or ""]
    else:
        found = [*(line for line in task.tests.split("\n") if line.startswith("assert")), task.solution or ""]
    return [text.strip() for text in found if text.strip()]


def thirteen_gram(tasks: Sequence[Task]) -> Rule:
    """GPT-3's n-gram overlap."""

    def words(text: str) -> list[str]:
        return re.sub(r"[^\w\s]", " ", text.lower()).split()

    return _any_gram([(t.task_id, words(t.prompt + (t.solution or ""))) for t in tasks], words, 13, shortest=8)


def twelve_gram(tasks: Sequence[Task]) -> Rule:
    """datatrove's n-grams, of statements too."""

    def words(text: str) -> list[str]:
        return re.sub(r"[^\w\s]|_", " ", re.sub(r"\d", "0", text.lower())).split()

    parts = [(t.task_id, words(part)) for t in tasks for part in (t.prompt, t.solution or "")]
    return _any_gram(parts, words, 12, shortest=12)


def _any_gram(parts: list[tuple[str, list[str]]], words: Callable[[str], list[str]], n: int, shortest: int) -> Rule:
    index: dict[tuple[str, ...], set[str]] = defaultdict(set)
    lengths = set()
    for task_id, found in parts:
        size = min(n, len(found))
        if size >= shortest:
            lengths.add(size)
            for gram in _grams(found, size):
                index[gram].add(task_id)

    def flagged(text: str) -> set[str]:
        given = words(text)
        return {task_id for size in lengths for gram in _grams(given, size) for task_id in index.get(gram, ())}

    return flagged


def tli(tasks: Sequence[Task]) -> Rule:
    """XCoder's test leakage indicator."""
    known = []
    for task in tasks:
        found = (task.prompt + (task.solution or "")).split()
        known.append((task.task_id, [(n, _grams(found, n)) for n in (4, 5)]))

    def flagged(text: str) -> set[str]:
        given = {n: _grams(text.split(), n) for n in (4, 5)}
        shares = (
            (task_id, [len(grams & given[n]) / max(1, len(grams)) for n, grams in parts]) for task_id, parts in known
        )
        return {task_id for task_id, share in shares if max(share) >= 0.05}

    return flagged


def _grams(words: list[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


PEERS: dict[str, Callable[[Sequence[Task]], Rule]] = {
    "substring": substring,
    "13-gram": thirteen_gram,
    "12-gram": twelve_gram,
    "TLI": tli,
}


def ordinary_functions(texts: Sequence[str]) -> list[str]:
    """The documented functions and methods in files of source code, dedented.

    A file that does not parse has none.
    """
    found = []
    for text in texts:
        tree = parsed(text)
        lines = text.split("\n")
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and node.end_lineno:
                part = lines[node.lineno - 1 : node.end_lineno]
                margin = len(part[0]) - len(part[0].lstrip())
                found.append("\n".join(line[margin:] if line[:margin].isspace() else line for line in part))
    return found
