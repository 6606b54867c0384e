"""Extraction: every form in which models write code, and that nothing in a text can stop it."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import dis
import importlib.util
import io
import sys
import time
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.harness import extraction
from builders.harness.extraction import candidate, imports
from builders.harness.tasks import Task

MAX_CHARACTERS = 20_000
PROMPT = '''from typing import List


def add(numbers: List[int]) -> int:
    """Add the numbers.

    >>> add([1, 2])
    3
    """
'''
RIGHT = "def add(numbers):\n    total = 0\n    for number in numbers:\n        total += number\n    return total\n"
WRONG = "def add(numbers):\n    return 7\n"
BODY = "    total = 0\n    for number in numbers:\n        total += number\n    return total\n"
LONG_WRONG = "def add(numbers):\n" + "".join(f"    x{n} = {n}\n" for n in range(20)) + "    return 7\n"
USES_HELPER = "def add(numbers):\n    return plus_all(numbers)\n"
HELPER = "def plus_all(numbers):\n    return sum(numbers)\n"
FENCED = f"```python\n{RIGHT}```"
PARENT = "```\nclass A:\n    def go(self, n): return sum(n)\n```\n"
CHILD = "```\nclass B(A): pass\ndef add(n): return B().go(n)\n```"
USES_K = "def add(numbers):\n    return k * sum(numbers)\n"
WRAP = "\nadd = cache(add)\n"
NEWTON = "def add(numbers):\n    return math.fsum(numbers)\n"

FUNCTION = Task(
    "Form/0", PROMPT, None, "", "add", chat="Write it.", completion=PROMPT, comparison="equal", num_base_cases=1
)
WHOLE = Task(
    "Form/1", '"""\nAdd the numbers.\n"""\n', None, "", "add", completion='"""\nAdd.\n"""\n', comparison="equal"
)
METHOD = Task("Form/2", "Add the numbers.", None, "", "Solution().add", call_form="method", comparison="livecodebench")
SCRIPT = Task("Form/3", "Print the sum.", None, "", None, call_form="stdin", comparison="text")
POLY = "def half(x):\n    return x / 2\n\n\n"
ASSERTS = Task("Form/4", POLY + PROMPT, None, "assert half(4) == 2", "add", completion=POLY + PROMPT)


def py(code: str) -> str:
    return f"```python\n{code}```"


def indented(code: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in code.splitlines(keepends=True))


# name, text, whether the code that is extracted is right
CHAT = [
    ("bare", RIGHT, True),
    ("fence", FENCED, True),
    ("fence with prose", f"Sure! Here it is:\n\n{FENCED}\n\nThis adds the numbers. `add([1])` is 1.\n", True),
    ("unmarked fence", f"```\n{RIGHT}```", True),
    ("py fence", f"```py\n{RIGHT}```", True),
    ("python3 fence", f"```python3\n{RIGHT}```", True),
    ("Python fence", f"```Python\n{RIGHT}```", True),
    ("PYTHON fence", f"``` PYTHON\n{RIGHT}```", True),
    ("none fence", f"```none\n{RIGHT}```", True),
    ("fence with title", f'```python title="add.py"\n{RIGHT}```', True),
    ("fence in braces", f"```{{.python .numberLines}}\n{RIGHT}```", True),
    ("plaintext fence", f"```plaintext\n{RIGHT}```", True),
    ("tilde fence", f"~~~python\n{RIGHT}~~~", True),
    ("four backticks", f"````python\n{RIGHT}````", True),
    ("long fence around short ones", f"`````markdown\n```python\n{RIGHT}```\n`````", True),
    ("markdown fence of the same length", f"```markdown\nSo:\n```python\n{RIGHT}```\n```", True),
    (
        "longer fence, docstring with a fence",
        '````python\ndef add(n):\n    """\n```\nx\n```\n    """\n    return sum(n)\n````',
        True,
    ),
    ("docstring with a fence", '```python\ndef add(n):\n    """\n```\nx\n```\n    """\n    return sum(n)\n```', True),
    (
        "longer fence, docstring with a marked fence",
        "````python\ndef add(n):\n    '''\n```python\nx\n```\n    '''\n    return sum(n)\n````",
        True,
    ),
    (
        "tildes, docstring with a marked fence",
        "~~~python\ndef add(n):\n    '''\n```python\nx\n```\n    '''\n    return sum(n)\n~~~",
        True,
    ),
    (
        "tildes, docstring with fences, prose",
        "~~~python\ndef add(n):\n    '''\n```\nx\n```\n    '''\n    return sum(n)\nThis adds.\n~~~",
        True,
    ),
    (
        "longer fence, docstring with fences, prose",
        "````python\ndef add(n):\n    '''\n```\nx\n```\n    '''\n    return sum(n)\nThis adds.\n````",
        True,
    ),
    ("draft not closed, then final", f"```python\n{WRONG}```python\n{RIGHT}```", True),
    ("unclosed fence", f"```python\n{RIGHT}", True),
    ("prefilled fence", f"{RIGHT}```\nThis adds.", True),
    ("prefilled fence, then an example", f"{RIGHT}```\nFor example:\n```python\nprint(add([1]))\n```", True),
    ("not closed before the next fence", f"```python\n{RIGHT}```output\n3\n```", True),
    ("two, the first not closed", f"```python\n{HELPER}```python\n{USES_HELPER}```", True),
    ("fence behind a sentence", f"Answer: ```python\n{RIGHT}```", True),
    ("fence behind the last line", f"```python\n{RIGHT.rstrip()}```\nDone.", True),
    ("bash first", f"```bash\npip install x\n```\n{FENCED}", True),
    ("JavaScript after", f"{FENCED}\n```js\nfunction add(n) {{ return 7 }}\n```", True),
    ("output after", f"{FENCED}\nOutput:\n```\n3\n```", True),
    ("indented fence", indented(FENCED, "    "), True),
    ("list item", f"1. So:\n\n   ```python\n{indented(RIGHT, '   ')}   ```\n2. Done.", True),
    ("fence behind a bullet", f"- ```python\n{indented(RIGHT, '  ')}  ```", True),
    ("fence indented, code deeper", py(f"{indented(RIGHT, '    ')}"), True),
    (
        "fence indented, code deeper, not a function first",
        py("    k = 1\n    def add(n):\n        return k * sum(n)\n"),
        True,
    ),
    (
        "indented fence that breaks off",
        indented("```python\nk = 1\ndef add(n):\n    return k * sum(n)\ndef test(n):\n    assert add([", "  "),
        True,
    ),
    ("quotation", indented(f"```python\n{RIGHT}```\n", "> "), True),
    ("tabs", py(f"{RIGHT.replace('    ', chr(9))}"), True),
    ("Windows line ends", FENCED.replace("\n", "\r\n"), True),
    ("old Mac line ends", FENCED.replace("\n", "\r"), True),
    ("byte order mark", "\ufeff" + RIGHT, True),
    ("byte order mark in the fence", py(f"\ufeff{RIGHT}"), True),
    ("non-breaking spaces", py(f"{RIGHT.replace('    ', chr(0xA0) * 4)}"), True),
    ("zero-width spaces", py(f"{RIGHT.replace('total', 'total' + chr(0x200B))}"), True),
    ("null and surrogate in prose", f"\0\ud800 {FENCED} \ud800", True),
    ("notebook", py(f"%%time\n!pip install numpy\nimport math\n%matplotlib inline\n{NEWTON}"), True),
    ("escaped HTML", "<code>\ndef add(n):\n    return sum(n) if len(n) &gt;= 0 else 7\n</code>", True),
    ("[PYTHON]", f"[PYTHON]\n{RIGHT}[/PYTHON]\n[TESTS]\nassert add([]) == 7\n[/TESTS]", True),
    ("[PYTHON] unclosed", f"So:\n[PYTHON]{RIGHT}", True),
    ("<code>", f"Use <code>sum</code>: <code>{RIGHT}</code>", True),
    ("<python>", f"<python>\n{RIGHT}</python>", True),
    ("<answer> with a fence", f"<answer>\n{FENCED}\n</answer>", True),
    ("end token", f"{RIGHT}<|im_end|>\n{WRONG}", True),
    ("prose around bare code", f"Here is the function:\n\n{RIGHT}\nIt adds each number, if there is one.", True),
    ("prose right below bare code", f"Here it is:\n{RIGHT}It adds the numbers: first, second.", True),
    ("prose that begins like code", f"for each number, we add it.\nimport the module.\n{RIGHT}", True),
    ("bare code indented", f"Here it is:\n\n{indented(RIGHT, '    ')}\nDone.", True),
    ("bare import, prose, function", f"import math\n\nNow the function:\n\n{NEWTON}", True),
    # which version
    ("thinking", f"<think>\n```python\n{LONG_WRONG}```\n</think>\n{FENCED}", True),
    ("thinking after no opening tag", f"```python\n{WRONG}```\nWait.</think>{FENCED}", True),
    ("<thinking>", f"<thinking>{WRONG}</thinking>\n{FENCED}", True),
    ("<reasoning>", f"<reasoning>\n```\n{WRONG}```\n</reasoning>\n{FENCED}", True),
    ("[THINK]", f"[THINK]```python\n{WRONG}[/THINK]{FENCED}", True),
    ("thinks twice", f"<think>{WRONG}</think>One.<think>```\n{WRONG}```</think>{FENCED}", True),
    ("still thinking", f"<think>\n{FENCED}\nBut wait", False),
    ("thinking ends with a block", f"<think>\nWe add.\n{FENCED}", True),
    ("thinking ends with a block, end token", f"<think>\nWe add.\n{FENCED}\n<|im_end|>", True),
    ("thinking ends with the last of two", f"<think>```python\n{WRONG}```\nNo:\n~~~\n{RIGHT}~~~\n", True),
    ("thinking breaks off in a block", f"<think>```python\n{RIGHT}```\nOr:\n```python\n{RIGHT}", False),
    ("thinking breaks off at a fence", f"<think>```python\n{RIGHT}```\nOr:\n```", False),
    ("thinking breaks off in a longer fence", f"<think>````python\n{RIGHT}```", False),
    (
        "gpt-oss",
        f"<|channel|>analysis<|message|>So:\n```python\n{LONG_WRONG}```<|end|>"
        f"<|start|>assistant<|channel|>final<|message|>{FENCED}<|return|>",
        True,
    ),
    (
        "gpt-oss, drafts",
        f"<|channel|>final<|message|>{py(WRONG)}<|end|><|start|>assistant<|channel|>commentary<|message|>Hm.<|end|>"
        f"<|start|>assistant<|channel|>final <|constrain|>python<|message|>{RIGHT}<|return|>\n{WRONG}",
        True,
    ),
    ("gpt-oss, only thinks", f"<|channel|>analysis<|message|>{FENCED}<|end|>", False),
    ("gpt-oss without tokens", f"analysisWe add.\n{py(LONG_WRONG)}assistantfinal{RIGHT}", True),
    ("channel in code", 'def add(n):\n    x = "<|channel|>final<|message|>"\n    return sum(n)\n', True),
    ("channel in fenced code", py('TAG = "<|channel|>analysis"\ndef add(n):\n    return sum(n)\n'), True),
    ("still thinking after an answer", f"{FENCED}<think>Hm: ```python\n{WRONG}```", True),
    ("thinking tag in code", 'def add(n):\n    x = "</think>".split("<think>")\n    return sum(n)\n', True),
    ("thinking tag in fenced code", '```python\nTAG = "</think>"\ndef add(n):\n    return sum(n)\n```', True),
    ("draft then final", f"```python\n{LONG_WRONG}```\nBetter:\n{FENCED}", True),
    ("right draft, wrong final", f"{FENCED}\nBetter:\n```python\n{WRONG}```", False),
    ("final breaks off", f"{FENCED}\nBetter:\n```python\ndef add(numbers):\n    return sum(", True),
    (
        "final breaks off in its body",
        f"{FENCED}\nBetter:\n```python\ndef add(numbers):\n    total = 7\n    return sum(",
        True,
    ),
    (
        "inside of a broken function",
        f"{FENCED}\nOr:\n```python\ndef outer():\n    x = = 1\n    def add(n):\n        return 7\n```",
        True,
    ),
    ("final is a stub", f"{FENCED}\nThat is:\n```python\ndef add(numbers): ...\n```", True),
    ("tests import it", f"{FENCED}\n```python\nfrom solution import add\nassert add([1]) == 1\n```", True),
    ("two in one block", py(f"{WRONG}\n\n# better\n{RIGHT}"), True),
    ("bare draft, fenced final", f"{WRONG}\nBetter:\n{FENCED}", True),
    ("fenced first, mentioned bare", f"{FENCED}\nThe line\ndef add(numbers): return 7\nis wrong.", True),
    ("tag in a comment", py(f"# <think> about it\n{RIGHT}"), True),
    ("tag in a comment of bare code, prose", f"Here:\n\n# <think> about it\n{RIGHT}\nIt adds.", True),
    ("closing tag in a comment", py(f"# Up to </think> it adds.\n{RIGHT}"), True),
    ("tag in a docstring", py(f'def spare():\n    """Handles <think> tags."""\n{RIGHT}'), True),
    ("tag begins a line of a docstring", py(f'"""\n<think> is a tag.\n"""\n{RIGHT}'), True),
    ("tag in a sentence", f"I would <think> of a loop.\n{FENCED}", True),
    ("still thinking, on a line of its own", f"{py(RIGHT)}\n<think>\nOr:\n{py(WRONG)}\nBut", True),
    ("thinking about tags", f"<think>A </think> tag?\n{py(WRONG)}\n</think>\n{FENCED}", True),
    ("end token in a string", py(f"STOP = 'x <|im_end|> y'\n{RIGHT}"), True),
    ("end token in a string, prose in the fence", py(f"STOP = r'x <|im_end|> y'\n{RIGHT}\nThis adds.\n"), True),
    ("end token in a string of bare code, prose", f'So:\n\nSTOP = "x <|im_end|> y"\n{RIGHT}\nIt adds.', True),
    ("end token in a comment", py(f"# ends at <|im_end|>\n{RIGHT}"), True),
    ("end token in a comment, prose in the fence", py(f"# x <|im_end|> y\n{RIGHT}\nThis adds.\n"), True),
    ("end token in an open fence", f"```python\n{RIGHT.rstrip()}<|im_end|>\n<|im_start|>user\nNo.\n{py(WRONG)}", True),
    ("end token between sentences", f"{FENCED}\nIt's done.<|im_end|> Now it's {py(WRONG)}", True),
    (
        "end token behind quotes",
        f'{FENCED}\nIt is 5" wide.<|eot_id|><|start_header_id|>"user"\n{py(WRONG)}',
        True,
    ),
    ("end token between quotations", f'{FENCED}\n"Done" is it.<|im_end|> "No": {py(WRONG)}', True),
    ("end token in a string that breaks off", f"{RIGHT}print('It adds<|im_end|>\nNo:\n{WRONG}", True),
    ("end token at the end of a comment", f"{RIGHT}# It adds.<|im_end|>\nNo:\n{WRONG}", True),
    ("channel in a comment", py(f"# x <|channel|>analysis and <|channel|>final<|message|> y\n{RIGHT}"), True),
    ("wrapped in a later block", f"{FENCED}\nCached:\n{py('from functools import cache' + WRAP)}", True),
    ("wrapped by an update", f"{FENCED}\nOr:\n{py('add += 1')}", True),
    ("wrapped in its block", py(f"{WRONG}\n{RIGHT}\nfrom functools import wraps\nadd = wraps(add)(add)\n"), True),
    (
        "only the wrapped one",
        py("from math import *\nfsum = (lambda f: f)(fsum)\nadd = lambda n: int(fsum(n))\n"),
        True,
    ),
    # joined
    (
        "helper wrapped in the last block",
        f"{py(HELPER)}\n{py('plus_all = (lambda f: f)(plus_all)' + chr(10) + USES_HELPER)}",
        True,
    ),
    ("value of another block updated", f"{py('k = 0')}\n{py('k += 1' + chr(10) + USES_K)}", True),
    (
        "value of another block filled",
        f"{py('k = []')}\n{py('k.append(1)' + chr(10) + USES_K.replace('k *', 'k[0] *'))}",
        True,
    ),
    (
        "value of another block filled between",
        f"{py('k = []')}\n{py('k.append(1)')}\n{py(USES_K.replace('k *', 'k[0] *'))}",
        True,
    ),
    (
        "value of another block counted",
        f"{py('k = 0')}\n{py('def add(n):' + chr(10) + '    global k' + chr(10) + '    k += 1' + chr(10) + '    return sum(n)')}",
        True,
    ),
    (
        "import apart, called as a statement",
        f"{py('import heapq')}\n{py('def add(n):' + chr(10) + '    heapq.heapify(n)' + chr(10) + '    return sum(n)')}",
        True,
    ),
    (
        "import apart, an example calls it",
        f"{py('import sys')}\n{py(f'def add(n):{chr(10)}    return sum(n) if sys else 0{chr(10)}sys.exit(add([1]))')}",
        True,
    ),
    ("helper before", f"```python\n{HELPER}```\nthen\n```python\n{USES_HELPER}```", True),
    ("helper after", f"```python\n{USES_HELPER}```\nwhere\n```python\n{HELPER}```", True),
    ("helper beside a draft", f"```python\n{HELPER}{WRONG}```\nBetter:\n```python\n{USES_HELPER}```", True),
    (
        "helper of helper",
        f"```\nK = 1\n```\n```\ndef plus_all(n):\n    return K * sum(n)\n```\n```\n{USES_HELPER}```",
        True,
    ),
    ("import apart", f"```python\nimport math\n```\n```python\n{NEWTON}```", True),
    ("star import apart", f"```python\nfrom math import *\n```\n```python\n{NEWTON.replace('math.', '')}```", True),
    ("future import second", f"```\n{HELPER}```\n```\nfrom __future__ import annotations\n{USES_HELPER}```", True),
    (
        "class apart",
        f"{PARENT}{CHILD}",
        True,
    ),
    (
        "class apart, below",
        f"{CHILD}\n{PARENT}",
        True,
    ),
    ("stub of the helper between", f"```\n{HELPER}```\n```\ndef plus_all(n): ...\n```\n```\n{USES_HELPER}```", True),
    ("helper not fenced", f"{HELPER}\nand\n```python\n{USES_HELPER}```", True),
    # trimmed
    ("last function breaks off", f"```python\n{RIGHT}\ndef test():\n    assert add([", True),
    ("prose in the fence", py(f"{RIGHT}\nThis adds the numbers.\n"), True),
    ("prose at the head of the fence", py(f"Here it is:\n{RIGHT}"), True),
    ("breaks off", "```python\ndef add(numbers):\n    total = 0\n    for number in", False),
    ("breaks off behind its end", f"```python\n{RIGHT}    print(f'", True),
    # what a model adds
    ("assertions", py(f"{RIGHT}\nassert add([1]) == 2\n"), True),
    ("prints", py(f"{RIGHT}\nprint(add(None))\n"), True),
    ("input", py(f"x = input()\n{RIGHT}\nprint(add(eval(x)))\n"), True),
    ("input of the same name", py(f"numbers = eval(input())\n{RIGHT}"), True),
    ("input in a loop", py(f"{RIGHT}\nwhile True:\n    print(add(eval(input())))\n"), True),
    ("sys.exit", py(f"import sys\n{RIGHT}\nsys.exit(1)\n"), True),
    ("main block", py(f"{RIGHT}\nif __name__ == '__main__':\n    print(add(eval(input())))\n"), True),
    ("main function", py(f"{RIGHT}\ndef main():\n    print(add(eval(input())))\nmain()\n"), True),
    (
        "example that fills a table",
        py("memo = {}\ndef add(n):\n    memo[len(n)] = 1\n    return sum(n)\nadd(None)\n"),
        True,
    ),
    (
        "main function that fills a table",
        py("memo = []\ndef main():\n    memo.append(input())\nmain()\ndef add(n):\n    return sum(n) + len(memo)\n"),
        True,
    ),
    ("examples", py(f"{RIGHT}\nresult = add(None)\nfor case in [None]:\n    print(add(case))\n"), True),
    (
        "unittest",
        py(f"import unittest\n{RIGHT}\nclass T(unittest.TestCase):\n    def test(self): add(None)\nunittest.main()\n"),
        True,
    ),
    # what it needs
    (
        "decorated helper",
        py(
            "import functools\n@functools.cache\ndef all_of(n):\n    return sum(n)\n"
            "def add(n):\n    return all_of(tuple(n))\n"
        ),
        True,
    ),
    ("generator helper", py("def each(n):\n    yield from n\ndef add(n):\n    return sum(each(n))\n"), True),
    (
        "guarded import",
        py(
            "try:\n    import nothing_such as np\nexcept ImportError:\n    np = None\n"
            "def add(n):\n    return sum(n) if np is None else 7\n"
        ),
        True,
    ),
    ("branch", py("if True:\n    k = 1\nelse:\n    k = 2\ndef add(n):\n    return k * sum(n)\n"), True),
    ("several targets", py("a, b = 1, 0\ndef add(n):\n    return a * sum(n) + b\n"), True),
    ("augmented", py("k = 0\nk += 1\ndef add(n):\n    return k * sum(n)\n"), True),
    ("item", py("k = {}\nk['one'] = 1\ndef add(n):\n    return k['one'] * sum(n)\n"), True),
    ("attribute", py("def add(n):\n    return add.one * sum(n)\nadd.one = 1\n"), True),
    (
        "filled by a loop",
        py("k = []\nfor i in range(2):\n    k.append(i)\ndef add(n):\n    return k[1] * sum(n)\n"),
        True,
    ),
    (
        "filled by a call",
        py("k = []\ndef fill():\n    k.append(1)\nfill()\ndef add(n):\n    return k[0] * sum(n)\n"),
        True,
    ),
    ("set by global", py("def fill():\n    global k\n    k = 1\nfill()\ndef add(n):\n    return k * sum(n)\n"), True),
    (
        "registered",
        py(
            "k = {}\ndef put(f):\n    k[f.__name__] = f\n    return f\n"
            "@put\ndef go(n):\n    return sum(n)\ndef add(n):\n    return k['go'](n)\n"
        ),
        True,
    ),
    (
        "recursion limit",
        py(
            "import sys\nsys.setrecursionlimit(9000)\n"
            "def add(n):\n    assert sys.getrecursionlimit() == 9000\n    return sum(n)\n"
        ),
        True,
    ),
    ("lambda", py("add = lambda n: sum(n)\n"), True),
    ("one line", py("import math; k = 1; add = lambda n: k * sum(n)\n"), True),
    # wrong for EvalPlus too
    ("session", ">>> def add(numbers):\n...     return sum(numbers)\n...\n>>> add([1])\n1\n", False),
    ("another name", py(f"{RIGHT.replace('add', 'plus')}"), False),
    ("method", py(f"class Solution:\n{indented(RIGHT, '    ').replace('(', '(self, ', 1)}"), False),
    ("body alone", py(f"{BODY}"), False),
    ("import of the prompt left out", py("def add(numbers: List[int]):\n    return sum(numbers)\n"), False),
    ("nothing", "", False),
    ("a refusal", "I cannot do that.", False),
    ("not Python", py("function add(n) { return 7 }\n"), False),
]

COMPLETION = [
    ("body", BODY, True),
    ("wrong body", "    return 7\n", False),
    ("empty", "", False),
    ("closing fence", f"{BODY}```\n", True),
    ("closing fence, prose", f"{BODY}```\nThis adds. For example:\n```python\nadd([1])\n```", True),
    ("closing fence behind the code", f"{BODY.rstrip()}```", True),
    ("closing tildes", f"{BODY}~~~\n", True),
    ("prose", f"{BODY}\nThis adds the numbers.\n", True),
    ("indented prose", f"{BODY}    This adds the numbers: one by one.\n", True),
    ("tests", f"{BODY}\nassert add([1]) == 2\n\n# more\n", True),
    ("print", f"{BODY}\nprint(add(None))\n", True),
    ("main block", f"{BODY}\nif __name__ == '__main__':\n    import doctest\n    doctest.testmod()\n", True),
    ("next function", f"{BODY}\n\ndef mean(n):\n    return add(n) / len(n)\n", True),
    ("next function breaks off", f"{BODY}\n\ndef mean(n):\n    return add(n) / (", True),
    ("once more, wrong", f"{BODY}\n\n{WRONG}", True),
    ("once more, right", f"    return 7\n\n\n{RIGHT}", False),
    ("the prompt again", f"{BODY}\n\n{PROMPT}    return 7\n", True),
    ("the prompt again, not finished", f"{BODY}\n\n{PROMPT}", True),
    ("helper below", f"    return plus_all(numbers)\n\n\n{HELPER}", True),
    ("helper below a fence", f"    return plus_all(numbers)\n```\n\nwhere\n\n```python\n{HELPER}```", True),
    ("helper below prose", f"    return plus_all(numbers)\n\nHere is the helper.\n\n{HELPER}", True),
    ("whole", RIGHT, True),
    ("whole with its import", f"import math\n\n\n{NEWTON}", True),
    ("whole after blank lines", f"\n\n{RIGHT}", True),
    ("whole, import of the prompt", "def add(numbers: List[int]):\n    return sum(numbers)\n", True),
    ("whole in a fence", FENCED, True),
    ("whole in a fence, prose", f"{FENCED}\nThis adds.", True),
    ("body in a fence", f"```python\n{BODY}```\nThis adds.", True),
    ("like a chat", f"Sure:\n{FENCED}\nDone.", True),
    ("docstring with a fence", f'    """\n```\nx\n```\n    """\n{BODY}', True),
    ("docstring with a fence, prose", f'    """\n```\nx\n```\n    """\n{BODY}\nThat is all.\n', True),
    ("end token", f"{BODY}<|endoftext|>\n{WRONG}", True),
    ("breaks off", "    total = 0\n    for number in", False),
    ("breaks off behind its end", f"{BODY}    print('", True),
    ("Windows line ends", BODY.replace("\n", "\r\n"), True),
    ("comment first", f"# Add.\n{BODY}", True),
    ("sys.exit", f"{BODY}\nimport sys\nsys.exit(1)\n", True),
    ("without the first indentation", BODY.lstrip(), False),
    ("tab below spaces", "\treturn sum(numbers)\n", False),
]


def is_right(task: Task, text: str, form: str) -> bool:
    """Whether the pieces define a function that adds. They are run here: all texts are ours."""
    scope: dict[str, object] = {"__name__": "solution"}
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            for piece in candidate(task, text, form).pieces:
                exec(compile(piece, "solution", "exec", dont_inherit=True), scope)
        assert not printed.getvalue()
        call = eval(task.entry_point, scope)
        return [call([1, 2, 3]), call([]), call([-1])] == [6, 0, -1]
    except (SyntaxError, NameError, TypeError, ValueError):
        return False


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in CHAT], ids=[row[0] for row in CHAT])
def test_code_is_found_in_an_answer(text, expected):
    assert is_right(FUNCTION, text, "chat") is expected


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in COMPLETION], ids=[row[0] for row in COMPLETION])
def test_a_completion_ends_where_its_function_does(text, expected):
    assert is_right(FUNCTION, text, "completion") is expected


@pytest.mark.parametrize("form", ["chat", "completion"])
@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in CHAT if row[0] != "import of the prompt left out"])
def test_where_the_file_has_no_signature_whole_code_is_asked_for(text, expected, form):
    # A completion below MBPP's docstring. Its first version counts, so rows with two differ.
    if form == "chat":
        assert is_right(WHOLE, text, form) is expected
    elif "7" not in text and expected:
        assert is_right(WHOLE, text, form)


def test_methods_are_found_in_their_class():
    right = f"class Solution:\n{indented(RIGHT, '    ').replace('(numbers)', '(self, numbers)', 1)}"
    other = "class Solution:\n    def plus(self, n): return 7\n"
    assert is_right(METHOD, f"```python\n{right}```\nNot:\n```python\n{other}```", "chat")
    assert is_right(METHOD, f"{right}\nprint(Solution().add(None))\n", "chat")


def test_a_function_in_place_of_the_class_is_called_as_apps_and_livecodebench_do():
    by_name = dataclasses.replace(METHOD, comparison="apps")
    strict = dataclasses.replace(METHOD, comparison="asserts")
    stateful = f"```python\nclass Solution:\n    def plus(self, n): return 7\n```\n{FENCED}"
    for form, text in (("chat", FENCED), ("chat", RIGHT), ("completion", RIGHT), ("completion", RIGHT + "```\nDone.")):
        assert is_right(METHOD, text, form) and is_right(by_name, text, form)
        assert not is_right(strict, text, form)
        assert candidate(METHOD, text, form).code == RIGHT
    assert not is_right(METHOD, f"```python\n{WRONG}```", "chat")
    assert not is_right(METHOD, stateful, "chat")
    assert not is_right(METHOD, "```python\ndef plus(numbers):\n    return sum(numbers)\n```", "chat")


def test_where_tests_are_code_the_prompt_comes_first():
    assert candidate(ASSERTS, FENCED, "chat").pieces == (POLY + "from typing import List\n\n\n", RIGHT)
    assert candidate(FUNCTION, FENCED, "chat").pieces == (RIGHT,)
    assert is_right(ASSERTS, "```python\ndef add(n: List[int]):\n    return half(2 * sum(n))\n```", "chat")
    for text in (BODY, RIGHT, "    return half(2 * sum(numbers))\n"):
        assert is_right(ASSERTS, text, "completion")
        assert candidate(ASSERTS, text, "completion").pieces[0].startswith(POLY)


SUM = "import sys\nprint(sum(map(int, sys.stdin.read().split())))"
READS = "n = int(input())\nassert n\nprint(n)\nif __name__ == '__main__':\n    print(n)"

LOOP = "def main():\n    n = 0\n    for line in open(0):\n        n += 1\n    print(n)\nmain()"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SUM, SUM),
        (f"```python\n{SUM}\n```\n", SUM),
        (f"```python\nprint(7)\n```\nBetter:\n```python\n{SUM}\n```\n", SUM),
        (f"```python\n{SUM}\n```\nFor the input\n```\n1\n```\nit prints\n```\n1\n```\n", SUM),
        (f"<think>```python\n{READS}\n```</think>Done:\n{SUM}\n", SUM),
        (f"```python\n{READS}\n```", READS),
        (
            "```python\ndef two():\n    return 2\n```\n```python\nprint(two())\n```",
            "def two():\n    return 2\nprint(two())",
        ),
        ("```python\nn = input()\n!pip install x\nprint(n)\n```", "n = input()\nprint(n)"),
        (f"```python\n{READS}\n```\nHere\n```python\nn = int(input())  # one\n```\nreads n.", READS),
        (f"```python\n{LOOP}\n```\nHere\n```python\nfor line in open(0):\n    n += 1\n```\ncounts.", LOOP),
        (
            f"```python\n{READS}\n```\nShorter:\n```python\nn = int(input())\nprint(n)\n```",
            "n = int(input())\nprint(n)",
        ),
        ("```python\nprint(input())\n```\nExample:\n```python\nprint(1)\n```", "print(input())"),
    ],
)
def test_nothing_of_a_script_is_dropped(text, expected):
    made = candidate(SCRIPT, text, "chat")
    assert made.code.strip() == expected
    assert made.pieces == (made.code,)


def test_only_what_the_entry_point_needs_is_shown():
    add = "def add(n):\n    return plus_all(n) + k + l\n"
    below = "assert add([]) == 0\nif __name__:\n    k = 3\n"
    code = f"import os\nunused = 1\nk = 1; l = 2\n{HELPER}\ndef other(): pass\n{add}\n{below}"
    assert candidate(FUNCTION, py(code), "chat").code == f"import os\nk = 1; l = 2\n{HELPER}{add}"


def test_what_tests_use_of_the_solution_is_kept():
    task = dataclasses.replace(WHOLE, comparison="asserts", tests="assert add([Pair(1, 2)]) == 3\nspare = 7\n")
    code = "class Pair:\n    pass\ndef add(n):\n    return 3\n"
    assert candidate(task, py(f"spare = 1\nother = 2\n{code}"), "chat").code == code
    assert "Pair" not in candidate(WHOLE, py(code), "chat").code


def test_a_text_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(extraction, "MAX_CHARACTERS", MAX_CHARACTERS)
    assert is_right(FUNCTION, "No.\n" * MAX_CHARACTERS + FENCED, "chat")
    assert is_right(FUNCTION, FENCED + "\nNo." * MAX_CHARACTERS, "chat"), "both ends are read"
    middle = "No.\n" * MAX_CHARACTERS
    assert not is_right(FUNCTION, middle + FENCED + middle, "chat")
    assert not is_right(FUNCTION, f"<think>\n{'No. ' * MAX_CHARACTERS}{FENCED}\nBut", "chat")
    assert is_right(FUNCTION, BODY + "\nNo." * MAX_CHARACTERS, "completion")


def test_imports_are_named_by_their_first_part():
    code = "import numpy as np, os.path\nfrom a.b import c\nfrom . import d\ndef f():\n    import z\n"
    assert imports(code) == {"numpy", "os", "a", "z"}
    assert imports("import (") == set()


# Properties.

WRAPPINGS = st.sampled_from(
    [
        "{}",
        "```python\n{}```",
        "```\n{}```\nDone.",
        "~~~py\n{}~~~",
        "````\n{}````\n",
        "Sure, here it is:\n\n```python\n{}```\n\nIt uses `a`.",
        "<think>Let me think.\n```python\ndef add(n): return 7\n```</think>\n```python\n{}```",
        "[PYTHON]\n{}[/PYTHON]",
        "```python\ndef add(n):\n    return 7\n```\nBetter:\n```python\n{}```",
        "Here it is.\n\n{}\nThat is all.",
    ]
)
SOLUTIONS = st.lists(
    st.sampled_from(
        [
            "import math\n",
            "K = [1,\n     2]\n",
            "def plus_all(n):\n    return sum(n)\n",
            "@staticmethod\ndef spare(n):\n    '''A ``` fence.'''\n    return n\n",
            "class Node:\n    pass\n",
            "K[0] = 3\n",
            "for i in range(3):\n    K.append(i)\n",
            "assert plus_all([]) == 0\n",
            "x, y = 1, 2\n",
            "if __name__ == '__main__':\n    add(None)\n",
        ]
    ),
    max_size=6,
).map(lambda parts: "".join(parts) + "def add(n):\n    return plus_all(n) + len(K) + x\n")


@given(SOLUTIONS, WRAPPINGS, st.sampled_from(["\n", "\r\n"]))
def test_wrapping_changes_nothing(code, wrapping, line_end):
    bare = candidate(FUNCTION, code, "chat").code
    assert "def add(n)" in bare
    assert candidate(FUNCTION, wrapping.replace("{}", code).replace("\n", line_end), "chat").code == bare


@given(SOLUTIONS, st.sampled_from(["chat", "completion"]))
def test_what_is_extracted_is_extracted_from_itself(code, form):
    once = candidate(FUNCTION, code, form).code
    assert candidate(FUNCTION, once, form).code == once


PIECES = st.sampled_from(
    [
        *"`~\"'\\()[]{}:#@!%>.\n\r\t \0\ud800\ufeff\u00a0",
        *("```", "~~~", "```python\n", "```\n", "def add(n):\n", "    ", "return n", "class add:", "import x\n"),
        *("<|channel|>final<|message|>", "<|channel|>analysis<|message|>", "analysis", "assistantfinal"),
        *("<think>", "</think>", "[PYTHON]", "[/PYTHON]", "<code>", "</code>", "<|im_end|>", '"""', "'''", "lambda: "),
        *("global add\n", "if x:\n", "- ", "> ", "1. ", "f'{", "from __future__ import annotations\n", "async "),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join)


@settings(max_examples=300)
@given(TEXTS, st.sampled_from(["chat", "completion"]), st.sampled_from([FUNCTION, WHOLE, METHOD, SCRIPT, ASSERTS]))
def test_no_text_makes_it_raise(text, form, task):
    made = candidate(task, text, form)
    assert all(isinstance(piece, str) for piece in made.pieces)
    again = candidate(task, made.code, "chat")
    assert candidate(task, again.code, "chat") == again


MEGA = 100_000


@pytest.mark.parametrize("form", ["chat", "completion"])
@pytest.mark.parametrize(
    "text",
    [
        "`" * MEGA,
        "~" * MEGA,
        "`" * MEGA + "a`",
        "```a`" * (MEGA // 5),
        "```\n" * (MEGA // 4),
        "```python\n(\n" * (MEGA // 12),
        "```python\n" + "(" * 200_000,
        "[" * 200_000 + FENCED,
        "(\n" * 200_000,
        "x = (\n" * (MEGA // 6),
        "def f(\n" * (MEGA // 7),
        "@a\n" * 3_000,
        "if x:\n" * (MEGA // 6),
        "import x y\n" * (MEGA // 11),
        "def add(n):\n    return n\nNo.\n" * (MEGA // 29),
        "def add(n):\n    return add\n" * (MEGA // 27),
        "a = b\n" * 3_000 + "def add(n):\n    return a\n",
        "".join(f"v{n} = v{n + 1}\n" for n in range(3_000)) + "def add(n):\n    return v0\n",
        "<think>" * (MEGA // 7),
        "<think>" + "```\n" * (MEGA // 4),
        "<|channel|>final" * (MEGA // 16),
        "<|channel|>analysis<|message|>" * (MEGA // 30),
        "</think>" * (MEGA // 8),
        "<code>" * (MEGA // 6),
        "<code " * (MEGA // 6),
        "'\\" * (MEGA // 2),
        "def add(n):\n\u00a0return '" + "\\'" * (MEGA // 2),
        "\"\"\"'''" * (MEGA // 6),
        "- " * (MEGA // 2),
        "1" * MEGA,
        "1\n" * 5_000,
        "not " * (MEGA // 4),
        "x = " + "-" * MEGA + "1\n",
        "x = " + "1+" * (MEGA // 2) + "1\ndef add(n): return x\n",
        "a, " * (MEGA // 3),
        "\n" * MEGA,
        "\0" * MEGA,
        " " * MEGA + "def add",
        "x[" * (MEGA // 2),
        "%%a\n" * (MEGA // 4),
        "&lt;" * (MEGA // 4),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_time_is_linear_in_the_text(text, form):
    started = time.process_time()
    candidate(FUNCTION, text, form)
    # The slowest takes half a second on a slow core. What is quadratic takes many minutes.
    assert time.process_time() - started < 60


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        ("heapq.heappush(K, 3)", True),
        ("heappush(K, 3)", True),
        ("setattr(K, 'a', 1)", True),
        ("random.shuffle(K)", True),
        ("print(K)", False),
        ("print(add(1))", False),
        ("check(K)", False),
        ("sys.stdout.write(str(add(K)))", False),
    ],
)
def test_calls_that_change_what_they_are_given_are_kept(line, is_kept):
    code = f"import heapq, random, sys\nfrom heapq import heappush\nK = [1]\n\ndef check(k):\n    print(k)\n\n{line}\n\ndef add(n):\n    return n + K[0]\n"
    assert (line in candidate(FUNCTION, code, "chat").code) is is_kept


GCD = "def add(numbers):\n{}    return sum(numbers) + {}\n"


# code above, what `add` adds to the sum (0 if all is there), code in `add`
@pytest.mark.parametrize(
    ("above", "more", "inside"),
    [
        ("cnt = 0", "0", "    global cnt\n    cnt += 1\n"),
        ("cnt = 0\ndef tick():\n    global cnt\n    cnt += 1", "0", "    tick()\n"),
        ("cnt = 0\nclass C:\n    def tick(self):\n        global cnt\n        cnt += 1", "0", "    C().tick()\n"),
        ("cnt = 0\ndef h():\n    global cnt\n    del cnt\n    cnt = 0", "0", "    h()\n"),
        ("K = 7\nclass C:\n    K = K", "C.K - 7", ""),
        ("K = 7\nclass C:\n    K += 1", "C.K - 8", ""),
        ("K = 7\nclass C:\n    L, K = K, 2", "C.L - 7", ""),
        ("K = [7]\nclass C:\n    for K in K: pass", "C.K - 7", ""),
        ("K = 7\ndef h():\n    class C:\n        K = K\n    return C.K", "h() - 7", ""),
        ("k = input()\nclass C:\n    k = 3\n    l = k", "C.l - 3", ""),
        ("k = input()", "0", "    global k\n    k = 3\n"),
        ("k = [0]\nxs = [last := i for i in k]", "last", ""),
        ("a = b = []\na.append(0)", "b[0]", ""),
        ("a = []\nb = a\nb.append(0)", "a[0]", ""),
        ("a = []\nput = a.append\nput(0)", "a[0]", ""),
        ("a = {}\na.setdefault(1, []).append(0)", "a[1][0]", ""),
        ("a = []\n[a.append(i) for i in range(3)]", "a[0]", ""),
        ("a = [9, 0]\nfirst = a.pop(0)", "a[0]", ""),
        ("a = []\ndef fill(x): x.append(0)\nfill(a)", "a[0]", ""),
        ("a = {}\ndef put(): a[0] = 0\ndef fill(): put()\ndef start(): fill()\nstart()", "a[0]", ""),
        ("class O: pass\nsetattr(O, 'x', 0)", "O.x", ""),
        (
            "from functools import singledispatch as s\n@s\ndef h(x): 0\n@h.register(int)\ndef _(x): return 0",
            "h(1)",
            "",
        ),
        ("import sys as s\ns.setrecursionlimit(8001)\nimport sys", "sys.getrecursionlimit() - 8001", ""),
        (
            "import sys\ntry:\n    sys.setrecursionlimit(8002)\nexcept ValueError: pass",
            "sys.getrecursionlimit() - 8002",
            "",
        ),
        ("import sys\nif sys:\n    sys.setrecursionlimit(8003)", "sys.getrecursionlimit() - 8003", ""),
        ("match [0, 1]:\n    case [x, *rest]: pass", "x", ""),
        ("for k in range(3):\n    def h(k=k): return k - 2", "h()", ""),
        ("k = 0\ndef h(*, x=k) -> k: return x", "h()", ""),
        ("k = 0\ndef d(n): return lambda f: lambda: n\n@d(k)\ndef h(): return 1", "h()", ""),
        ("k = 0\nclass P:\n    def __init_subclass__(cls, k): cls.k = k\nclass Q(P, k=k): pass", "Q.k", ""),
        ("import contextlib\nwith contextlib.suppress(KeyError):\n    k = 0", "k", ""),
    ],
)
@pytest.mark.parametrize("form", ["chat", "completion"])
def test_all_that_a_function_reads_is_kept(above, more, inside, form):
    limit = sys.getrecursionlimit()
    try:
        code = f"{above}\n{GCD.format(inside, more)}"
        assert is_right(WHOLE, py(code) if form == "chat" else code, form)
    finally:
        sys.setrecursionlimit(limit)


def test_a_copy_is_no_other_name_for_a_value():
    code = "a = [0]\nb = a[:]\nb.append(1)\ndef add(n):\n    return sum(n) + a[0]\n"
    assert "append" not in candidate(WHOLE, py(code), "chat").code


def test_a_second_function_for_a_registration_is_kept_in_a_completion():
    code = (
        "from functools import singledispatch\n@singledispatch\ndef h(x): return 0\n"
        "@h.register(str)\ndef _(x): return 1\n@h.register(list)\ndef _(x): return sum(x)\n"
        "def add(n):\n    return h(n)\n"
    )
    assert is_right(WHOLE, code, "completion")


def lacking(code: str, whole: str) -> set[str]:
    """The module's names that the code reads but does not define, although the whole does."""
    read, bound = names_of_bytecode(code)
    return (read - bound) & names_of_bytecode(whole)[1]


def names_of_bytecode(code: str) -> tuple[set[str], set[str]]:
    read, bound, top = set[str](), set[str](), compile(code, "code", "exec", dont_inherit=True)
    waiting = [top]
    for one in waiting:
        waiting += [inner for inner in one.co_consts if isinstance(inner, types.CodeType)]
        steps = [(step.opname, step.argval) for step in dis.get_instructions(one)]
        own = {name for op, name in steps if op == "STORE_NAME"}
        bound |= {name for op, name in steps if op == "STORE_GLOBAL"} | (own if one is top else set())
        read |= {n for op, n in steps if op == "LOAD_GLOBAL" or (op == "LOAD_NAME" and (one is top or n not in own))}
    return read - {"__name__", "__doc__"}, bound


@pytest.mark.parametrize(
    "name",
    [
        "argparse",
        "copy",
        "heapq",
        "inspect",
        "json.decoder",
        "locale",
        "quopri",
        "random",
        "shlex",
        "string",
        "textwrap",
    ],
)
def test_no_name_of_a_real_module_is_lost(name):
    whole = Path(importlib.util.find_spec(name).origin).read_text("utf-8")
    definitions = [n.name for n in ast.parse(whole).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    for entry_point in definitions[:: max(1, len(definitions) // 3)]:
        task = dataclasses.replace(WHOLE, entry_point=entry_point)
        code = candidate(task, py(whole), "chat").code
        assert entry_point in names_of_bytecode(code)[1]
        assert not lacking(code, whole)
        # Each statement in a fence of its own: all but the last are other blocks.
        parts = "and\n".join(f"````python\n{part}\n````\n" for part in pieces(whole))
        assert not lacking(candidate(task, parts, "chat").code, whole)


def pieces(code: str) -> list[str]:
    lines = code.split("\n")
    starts = [min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", []))]) - 1 for n in ast.parse(code).body]
    return ["\n".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
