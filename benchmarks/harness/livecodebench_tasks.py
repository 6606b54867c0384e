"""Tasks in LiveCodeBench's public format, with solutions: its own files come without any.

    python benchmarks/harness/livecodebench_tasks.py FILE      # write the tasks as JSON lines
    python benchmarks/harness/livecodebench_tasks.py FILE --gigabytes 1     # large ones, as many as
                                                                            # hold so much

A third of them read standard input, a third are functions, and a third are methods of a class. The
private tests are JSON, pickled, compressed and written as base64, as in the published files.
"""

from __future__ import annotations

import argparse
import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRIPTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        "Two integers stand on one line. Print their sum.",
        "a, b = map(int, input().split())\nprint(a + b)\n",
        [("1 2\n", "3\n"), ("-5 5\n", "0\n"), ("1000000000000 1\n", "1000000000001\n")],
    ),
    (
        "The first line is n, the second holds n integers. Print them sorted, on one line.",
        "import sys\n\ndef main():\n    data = sys.stdin.read().split()\n    n = int(data[0])\n"
        "    print(*sorted(map(int, data[1 : n + 1])))\n\nif __name__ == '__main__':\n    main()\n",
        [("3\n3 1 2\n", "1 2 3\n"), ("1\n7\n", "7\n"), ("5\n5 4 3 2 1\n", "1 2 3 4 5\n")],
    ),
    (
        "The first line is t. Each of the t lines after it holds a word. Print YES for a palindrome, NO otherwise.",
        "for _ in range(int(input())):\n    word = input().strip()\n    print('YES' if word == word[::-1] else 'NO')\n",
        [("2\nabba\nabc\n", "YES\nNO\n"), ("1\na\n", "YES\n")],
    ),
    (
        "One line holds a radius. Print the area of the circle with four decimals.",
        "import math\nr = float(input())\nprint(f'{math.pi * r * r:.4f}')\n",
        [("1\n", "3.1416\n"), ("0.5\n", "0.7854\n"), ("0\n", "0\n")],
    ),
]
"""Statement, solution, and pairs of what is read and printed."""

FUNCTIONS: list[tuple[str, str, str, str, list[tuple[list[Any], Any]]]] = [
    (
        "Return the positions of the two numbers that sum to the target.",
        "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        ",
        "twoSum",
        "class Solution:\n    def twoSum(self, nums, target):\n        seen = {}\n"
        "        for i, n in enumerate(nums):\n            if target - n in seen:\n"
        "                return [seen[target - n], i]\n            seen[n] = i\n",
        [([[2, 7, 11, 15], 9], [0, 1]), ([[3, 3], 6], [0, 1])],
    ),
    (
        "Return the word whose letters are those of the text in reverse.",
        "class Solution:\n    def reverseText(self, text: str) -> str:\n        ",
        "reverseText",
        "class Solution:\n    def reverseText(self, text: str) -> str:\n        return text[::-1]\n",
        [(["abc"], "cba"), ([""], "")],
    ),
    (
        "Return whether a year is a leap year.",
        "class Solution:\n    def isLeap(self, year: int) -> bool:\n        ",
        "isLeap",
        "class Solution:\n    def isLeap(self, year):\n        return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
        [([2000], True), ([1900], False), ([2024], True)],
    ),
    (
        "Return the mean of the numbers.",
        "class Solution:\n    def mean(self, numbers: List[float]) -> float:\n        ",
        "mean",
        "class Solution:\n    def mean(self, numbers):\n        return sum(numbers) / len(numbers)\n",
        [([[1.0, 2.0]], 1.5), ([[4]], 4.0)],
    ),
    (
        "Return the transposed matrix.",
        "def transpose(matrix: List[List[int]]) -> List[List[int]]:\n    ",
        "transpose",
        "def transpose(matrix):\n    return [list(row) for row in zip(*matrix)]\n",
        [([[[1, 2], [3, 4]]], [[1, 3], [2, 4]]), ([[[1]]], [[1]])],
    ),
    (
        "Return the number of vowels in the text.",
        "def vowels(text: str) -> int:\n    ",
        "vowels",
        "def vowels(text):\n    return sum(c in 'aeiou' for c in text.lower())\n",
        [(["Ouagadougou"], 8), (["xyz"], 0)],
    ),
    (
        "Return the greatest common divisor of two numbers.",
        "def divisor(a: int, b: int) -> int:\n    ",
        "divisor",
        "def divisor(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n",
        [([12, 18], 6), ([7, 3], 1), ([5, 0], 5)],
    ),
    (
        "Return all numbers from 1 to n, with Fizz for those that 3 divides.",
        "def fizz(n: int) -> List[str]:\n    ",
        "fizz",
        "def fizz(n):\n    return ['Fizz' if i % 3 == 0 else str(i) for i in range(1, n + 1)]\n",
        [([3], ["1", "2", "Fizz"]), ([0], [])],
    ),
]
"""Statement, starter code, name, solution, and pairs of arguments and value."""


def rows() -> list[dict[str, Any]]:
    """The tasks in LiveCodeBench's public format. All of them fall into the year 2024."""
    made = [
        _row(number, statement, "", {}, [_test(given, printed, "stdin") for given, printed in tests])
        for number, (statement, _, tests) in enumerate(SCRIPTS)
    ]
    for number, (statement, starter, name, _, tests) in enumerate(FUNCTIONS, start=len(made)):
        calls = [
            _test("\n".join(map(json.dumps, arguments)), json.dumps(value), "functional") for arguments, value in tests
        ]
        made.append(_row(number, statement, starter, {"func_name": name}, calls))
    return made


def solutions() -> dict[str, str]:
    """A right solution for each question_id."""
    codes = [script[1] for script in SCRIPTS] + [function[3] for function in FUNCTIONS]
    return {f"own_{number}": code for number, code in enumerate(codes)}


def _row(
    number: int, statement: str, starter: str, about: dict[str, str], tests: list[dict[str, str]]
) -> dict[str, Any]:
    private = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests[1:])))).decode()
    return {
        "question_title": statement.split(".")[0],
        "question_content": statement,
        "platform": "own",
        "question_id": f"own_{number}",
        "contest_id": "own",
        "contest_date": f"2024-{number % 12 + 1:02d}-01T00:00:00",
        "starter_code": starter,
        "difficulty": "easy",
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": private,
        "metadata": json.dumps(about),
    }


def _test(given: str, expected: str, kind: str) -> dict[str, str]:
    return {"input": given, "output": expected, "testtype": kind}


LARGE_BYTES = 2**22
"""What each of the two private tests of a large task holds."""
_COUNT = "text = input()\nprint(len(text))\nprint(text)\n"


def large_rows(gigabytes: float) -> Iterator[dict[str, Any]]:
    """Tasks with as many GB of private tests. What is read is printed, so outputs are as large."""
    for number in range(round(gigabytes * 1e9 / (4 * LARGE_BYTES))):
        texts = ["a", *(f"{number}-{test}-".ljust(LARGE_BYTES, "0") for test in range(2))]
        tests = [_test(f"{text}\n", f"{len(text)}\n{text}\n", "stdin") for text in texts]
        yield _row(number, f"Print how long the line is, and the line. Variant {number}.", "", {}, tests)


def large_answer() -> str:
    """A right answer to each of the large tasks."""
    return _COUNT


def main() -> None:
    """Write the tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--gigabytes", type=float, help="write large tasks, which hold so much in all")
    options = parser.parse_args()
    made = rows() if options.gigabytes is None else large_rows(options.gigabytes)
    with open(options.file, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in made)


if __name__ == "__main__":
    main()
