"""What runs in the checker's process: a task's cases are compared with what the solution answers.

`builders/harness/references.py` and `verdicts.py` send this text into the sandbox, with one line
below it: `record()` or `check()`. The module `trial` exists only there. In: `trial.data`.

    record   a line of JSON, {"form", "comparison", "atol", "oracle", "has_solution", "patience_s"},
             and below it a line of JSON for each case, [input, output]. Runs the task's own
             solution on all inputs, and gives back a line of JSON, {"seconds"}, and below it the
             cases: a line of JSON, {"sizes", "seconds"}, and the inputs and outputs, encoded
    check    a line of JSON, {"form", "comparison", "atol", "oracle", "num_base", "min_case_s",
             "factor", "case_s"}, and below it what `record` gave. Raises at the first wrong answer.
             Gives back `base` when all cases of the original benchmark are right

`compare()` is for decontamination: there the function runs in the process that compares it, and
`programs.tests_as_code` sends this text with a line that calls it.

`is_right` compares as EvalPlus 0.3.1 does (evalplus/eval/__init__.py, Apache-2.0), in words of our
own and without numpy. What differs:

- An answer that is the same value as the reference's, with its NaN, is right.
- Values arrive as plain values of builtin types, Decimal, Fraction and deque, so that a subclass of
  float is a float. Whatever else the solution makes equals nothing: an iterator (EvalPlus makes a
  set of it where it compares sets), UserList and UserDict, MappingProxyType, array, memoryview,
  dates, and instances of its own classes, whose `__eq__` is not asked.
- The solution and the checker are two processes, and EvalPlus takes more away from the first. Here
  it may start other programs, write files in /tmp, ask for the current folder, the source of a
  function (`inspect.getsource`) or shared memory (`mmap`), pickle what it defines, and use a
  ProcessPoolExecutor. What it prints is thrown away in both.
- EvalPlus keeps the tolerance that one float has brought for all later cases, where it then also
  allows nested numbers to be near. Here each case has its own. It compares with numpy's rules of
  broadcasting; here lists must be as long.
- HumanEval/32: EvalPlus does not count the cases of this task as done, and so refuses every answer.
"""

import io
import json
import math
import pickle
from builtins import *  # noqa: F403, UP029 - the solution may be called `sum` (Mbpp/126), and hide it
from collections import deque
from decimal import Decimal, InvalidOperation
from fractions import Fraction

TOLERANCE = 1e-6
"""How far numbers may differ where only floats are expected and the file gives no tolerance."""
RELATIVE = 1e-7
VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
BUILT = b"__build_class__"
"""Stands in the bytes of a value that is not of plain ones alone (`sandbox/inside/codec.py`)."""
SHOWN = 120
"""Characters of a value in a message."""
BEFORE = 20
"""Characters that are shown before the place where two long values begin to differ."""


def record():
    """Run the task's own solution, and give back inputs, expected outputs and seconds."""
    import trial

    lines = io.BytesIO(trial.data)
    job = json.loads(next(lines))
    inputs, outputs = [], []
    for line in lines:
        given, expected = json.loads(line)
        inputs.append(packed(job, given))
        outputs.append(None if expected is None else packed(job, expected))
    seconds = [0.0] * len(inputs)
    if job["has_solution"]:
        judge = Judge(job, inputs, outputs)
        patience = [job["patience_s"]] * len(inputs)
        for position, (state, payload, took) in enumerate(judge.answers(patience)):
            seconds[position] = took
            if outputs[position] is None:
                outputs[position] = judge.reference(position, state, payload)
            else:
                judge.look(position, state, payload)
    if None in outputs:
        raise AssertionError("a case has no output, and the task has no solution that could give it")
    sizes = [len(part) for part in (*inputs, *outputs)]
    for about in ({"seconds": sum(seconds)}, {"sizes": sizes, "seconds": seconds}):
        trial.give(json.dumps(about).encode() + b"\n")
    for part in (*inputs, *outputs):
        trial.give(part)


def check():
    """Compare every answer of the solution. AssertionError at the first that is wrong."""
    import trial

    job, place = line_at(trial.data, 0)
    about, place = line_at(trial.data, place)
    seconds = about["seconds"]
    parts = cut(trial.data, place, about["sizes"])
    inputs, outputs = parts[: len(seconds)], parts[len(seconds) :]
    judge = Judge(job, inputs, outputs)
    least = job["case_s"] or job["min_case_s"]
    limits = [max(least, job["factor"] * took) for took in seconds]
    done = 0
    for position, (state, payload, _) in enumerate(judge.answers(limits)):
        judge.look(position, state, payload)
        done += 1
        if done == job["num_base"]:
            trial.give(b"base")
    if done != len(inputs) or not inputs:
        raise AssertionError(f"{done} of {len(inputs)} cases were answered")


def packed(job, text):
    """The bytes of an input or output, as they are kept: a text, or an encoded value."""
    import trial

    return text.encode("utf-8", "surrogatepass") if job["form"] == "stdin" else trial.encode(literal(text))


def line_at(data, place):
    """The JSON of the line that begins there, and the place behind it."""
    end = data.index(b"\n", place) + 1
    return json.loads(data[place:end]), end


def cut(data, place, sizes):
    """The parts of these sizes, one behind the other. They are views: nothing is copied."""
    view, parts = memoryview(data), []
    for size in sizes:
        parts.append(view[place : place + size])
        place += size
    return parts


class Judge:
    """The cases of a task, and how their answers are compared. Inputs and outputs are bytes."""

    def __init__(self, job, inputs, outputs):
        self.job = job
        self.inputs = inputs
        self.outputs = outputs

    def answers(self, limits):
        """(state, payload, seconds) for each case, in order."""
        import trial

        if self.job["form"] != "stdin":
            yield from trial.answers(self.inputs, limits)
            return
        texts = (text_of(one) for one in self.inputs)
        for state, text, message, seconds in trial.outputs(texts, limits):
            printed = text.encode("utf-8", "surrogatepass")
            yield ("value", printed, seconds) if state == "ended" else ("raised", message, seconds)

    def reference(self, position, state, payload):
        """The answer of the task's own solution, as it is expected from others."""
        import trial

        if state != "value":
            raise AssertionError(f"its own solution fails on {self.shown(position)}: {on_one_line(payload)}")
        if self.job["oracle"] == "not_none":
            return trial.encode(trial.decode(payload) is not None)
        if self.job["form"] != "stdin" and BUILT in payload and not is_plain(trial.decode(payload)):
            raise AssertionError(f"its own solution gives no plain value for {self.shown(position)}")
        return payload

    def look(self, position, state, payload):
        """AssertionError if the answer is wrong."""
        import trial

        expected = bytes(self.outputs[position])
        if state != "value":
            raise AssertionError(f"{self.shown(position)}: {on_one_line(payload)}")
        if payload == expected and self.job["oracle"] != "find_zero":
            return
        if self.job["form"] == "stdin":
            text, wanted = text_of(payload), text_of(expected)
            if not same_text(text, wanted):
                raise AssertionError(f"{self.shown(position)}: {difference(wanted, text)}")
            return
        got, wanted = trial.decode(payload), trial.decode(expected)
        # What is no value stays in the solution's process, which is busy with the next cases.
        if self.job["oracle"] != "not_none" and not is_plain(got):
            raise AssertionError(f"{self.shown(position)}: expected {short(wanted)}, got {short(got)}")
        arguments = trial.decode(self.inputs[position]) if self.job["oracle"] else ()
        if not is_accepted(got, wanted, arguments, self.job):
            raise AssertionError(f"{self.shown(position)}: {difference(wanted, got)}")

    def shown(self, position):
        """The input of a case, shortened."""
        import trial

        given = self.inputs[position]
        return short(text_of(given) if self.job["form"] == "stdin" else trial.decode(given))


def text_of(packed):
    """The text of bytes that `packed` has made."""
    return bytes(packed).decode("utf-8", "surrogatepass")


def compare(candidate, job):
    """Compare a function of this process on all cases. AssertionError at the first wrong answer.

    `job` has {"inputs", "outputs", "comparison", "atol", "oracle", "solution", "entry_point"}. The
    task's own solution gives the outputs that are None. Inputs on which it raises are left out.
    """
    scope = {"__name__": "reference"}
    if None in job["outputs"]:
        exec(job["solution"], scope)
    compared = 0
    for text, output in zip(job["inputs"], job["outputs"], strict=True):
        try:
            expected = own_answer(job, scope, text) if output is None else literal(output)
        except Exception:
            continue
        got = candidate(*literal(text))
        is_same = is_accepted(got, expected, literal(text), job) or is_same_value(got, expected, job)
        assert is_same, f"{short(literal(text))}: {difference(expected, got)}"
        compared += 1
    assert compared, "the task's own solution raises on every input"


def own_answer(job, scope, text):
    """What the task's own solution answers."""
    answer = eval(job["entry_point"], scope)(*literal(text))
    return answer is not None if job["oracle"] == "not_none" else answer


def is_same_value(got, expected, job):
    """Whether an answer is the same value as the expected one, with its NaN."""
    return job["oracle"] != "find_zero" and pickle.dumps(got) == pickle.dumps(expected)


def literal(text):
    """The value of a Python literal. `inf` and `nan` are numbers in it, as in the repr of one."""
    return eval(text, {"inf": math.inf, "nan": math.nan})


def short(value):
    """The repr of a value, shortened."""
    return part(repr(value), 0)


def difference(expected, got):
    """What was expected and what came, each shortened to the part where they begin to differ."""
    one, other = repr(expected), repr(got)
    is_long = len(one) > SHOWN or len(other) > SHOWN
    start = max(0, same_start(one, other) - BEFORE) if is_long else 0
    return f"expected {part(one, start)}, got {part(other, start)}"


def same_start(one, other):
    """How many characters two texts begin with in common. They may be very long."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def part(text, start):
    """The text from there on, shortened."""
    end = start + SHOWN
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def on_one_line(text):
    """An error message without its line ends, shortened."""
    return part(" ".join(text.split()), 0)


def is_plain(value):
    """Whether a value is made of Python's own values alone, so that it can be compared."""
    kind = type(value)
    if kind in (list, tuple, set, frozenset, deque, *VIEWS):
        return all(map(is_plain, value))
    if kind is dict:
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    numbers = (bool, int, float, complex, Decimal, Fraction)
    return value is None or kind in (*numbers, str, bytes, bytearray, range)


def is_accepted(got, expected, arguments, job):
    """Whether an answer is right by the comparison of its task."""
    if job["comparison"] == "apps":
        return same_as_apps(got, expected)
    if job["comparison"] == "livecodebench":
        return same_as_livecodebench(got, expected)
    return is_right(got, expected, arguments, job["atol"], job["oracle"])


def is_right(got, expected, arguments, atol, oracle):
    """Whether an answer is right, as EvalPlus judges."""
    if oracle == "find_zero":
        return abs(polynomial(arguments[0], got)) <= atol
    is_same = bool(got == expected)
    if oracle == "any":
        is_same = True
    elif oracle == "zero":
        is_same = is_same or got == 0
    elif oracle == "surface_area":
        is_same = is_same or abs(got - surface_area(*arguments)) <= atol
    elif oracle == "digit_distance":
        is_same = is_same or got == digit_distance(*arguments)
    elif oracle == "set":
        is_same = set(got) == set(expected)
    elif oracle == "not_none":
        is_same = got == expected if isinstance(got, bool) else expected == (got is not None)
    if atol == 0 and are_floats(expected):
        atol = TOLERANCE
    return is_same or (atol != 0 and is_near(got, expected, atol))


def are_floats(value):
    """Whether a value is a float, or a list or tuple of floats alone."""
    if isinstance(value, (list, tuple)) and value:
        return all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def is_near(got, expected, atol):
    """Whether numbers are near each other: of the same type, and as many."""
    if type(got) is not type(expected):
        return False
    if isinstance(expected, (list, tuple)):
        return len(got) == len(expected) and all(map(lambda a, b: are_near(a, b, atol), got, expected))
    return are_near(got, expected, atol)


def are_near(got, expected, atol):
    """Whether two numbers, or the numbers of two nested lists, are near each other."""
    if isinstance(expected, (list, tuple)):
        is_list = isinstance(got, (list, tuple)) and len(got) == len(expected)
        return is_list and all(map(lambda a, b: are_near(a, b, atol), got, expected))
    if not all(isinstance(value, (int, float, complex)) for value in (got, expected)):
        return False
    return got == expected or abs(got - expected) <= atol + RELATIVE * abs(expected) < math.inf


def polynomial(coefficients, x):
    """The value at x of the polynomial, whose lowest coefficient comes first (HumanEval/32)."""
    return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(coefficients))


def surface_area(base, height):
    """Mbpp/581, if the height is that of the pyramid and not of a side."""
    slant = math.sqrt((base / 2) ** 2 + height**2)
    return round(base**2 + 2 * base * slant)


def digit_distance(first, second):
    """Mbpp/558, if the shorter number is filled up with zeros."""
    one, other = str(first), str(second)
    width = max(len(one), len(other))
    return sum(abs(int(a) - int(b)) for a, b in zip(one.zfill(width), other.zfill(width), strict=True))


def same_as_apps(got, expected):
    """Whether an answer is right, as APPS judges (its eval/testing_util.py).

    A tuple equals a list. The first item of an expected list is right, too, since many files wrap
    the value in a list; and so are tuples in a list for the lists in that item.
    """
    got = list(got) if isinstance(got, tuple) else got
    expected = list(expected) if isinstance(expected, tuple) else expected
    if got == expected:
        return True
    if not isinstance(expected, list) or not expected:
        return False
    if got == expected[0]:
        return True
    has_tuples = isinstance(got, list) and got and isinstance(got[0], tuple)
    return bool(has_tuples and [list(item) if isinstance(item, tuple) else item for item in got] == expected[0])


def same_as_livecodebench(got, expected):
    """Whether an answer is right, as LiveCodeBench judges: it equals the JSON of the output.

    A tuple is taken for a list, but not one inside of another value (`grade_call_based` in
    `lcb_runner/evaluation/testing_util.py`).
    """
    return bool((list(got) if isinstance(got, tuple) else got) == expected)


def same_text(got, expected):
    """Whether a script printed what is expected, as LiveCodeBench judges.

    Blanks at the ends of lines do not count, and numbers may be written otherwise.
    """
    lines = [line.strip() for line in got.strip().split("\n")]
    wanted = [line.strip() for line in expected.strip().split("\n")]
    return len(lines) == len(wanted) and all(map(same_line, lines, wanted))


def same_line(got, expected):
    """Whether two lines are the same text, or the same numbers."""
    if got == expected:
        return True
    try:
        return list(map(Decimal, got.split())) == list(map(Decimal, expected.split()))
    except InvalidOperation:
        return False
