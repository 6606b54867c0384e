"""The inputs of MBPP+ as its solutions expect them. JSON has only lists and texts for them.

In: the inputs of a task as they stand in the file. Out: argument lists with the tuples, sets and
complex numbers that EvalPlus makes of them (`mbpp_deserialize_inputs` in its `data/mbpp.py`).

    restored("Mbpp/2", [[[1, 2], [3]]])   # [[(1, 2), (3,)]]
    restored("Mbpp/252", [["1+2j"]])      # [[(1+2j)]]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Arguments = list[Any]


def restored(task_id: str, inputs: list[Any]) -> list[Arguments]:
    """The argument lists of a task. Those of HumanEval+ and of most tasks stay as they are."""
    change = _CHANGES.get(task_id)
    return [list(change(arguments)) for arguments in inputs] if change else inputs


def _tuples(values: Any) -> list[Any]:
    return [tuple(value) for value in values]


def _each_a_tuple(arguments: Arguments) -> Arguments:
    return _tuples(arguments)


def _each_a_list_of_tuples(arguments: Arguments) -> Arguments:
    return [_tuples(argument) for argument in arguments]


def _each_a_tuple_of_tuples(arguments: Arguments) -> Arguments:
    return [tuple(_tuples(argument)) for argument in arguments]


def _first_a_list_of_tuples(arguments: Arguments) -> Arguments:
    return [_tuples(arguments[0]), arguments[1]]


def _first_a_tuple(arguments: Arguments) -> Arguments:
    return [tuple(arguments[0]), *arguments[1:]]


def _second_a_tuple(arguments: Arguments) -> Arguments:
    return [arguments[0], tuple(arguments[1])]


def _a_list_of_sets(arguments: Arguments) -> Arguments:
    """An empty set becomes an empty dictionary, as in EvalPlus."""
    return [[set(item) if isinstance(item, list) and item else {} for item in arguments[0]]]


def _a_tuple_with_tuples(arguments: Arguments) -> Arguments:
    return [tuple(tuple(item) if isinstance(item, list) else item for item in arguments[0])]


def _a_dictionary_of_tuples(arguments: Arguments) -> Arguments:
    return [{key: tuple(value) for key, value in arguments[0].items()}, *arguments[1:]]


def _a_number_and_a_complex_one(arguments: Arguments) -> Arguments:
    return [float(arguments[0]), complex(arguments[1])]


def _a_complex_number(arguments: Arguments) -> Arguments:
    return [complex(arguments[0])]


def _tuples_all_through(arguments: Arguments) -> Arguments:
    return [_as_tuples(argument) for argument in arguments]


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


_TASKS: dict[Callable[[Arguments], Arguments], str] = {
    _each_a_tuple: "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
    _each_a_list_of_tuples: "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780",
    _each_a_tuple_of_tuples: "259 401 445",
    _first_a_list_of_tuples: "75 413 444 753",
    _first_a_tuple: "250 307 405 446 617 720 763 808",
    _second_a_tuple: "106 750",
    _a_list_of_sets: "115",
    _a_tuple_with_tuples: "278",
    _a_dictionary_of_tuples: "722",
    _a_number_and_a_complex_one: "124",
    _a_complex_number: "252",
    _tuples_all_through: "580 615 791",
}
_CHANGES = {f"Mbpp/{number}": change for change, numbers in _TASKS.items() for number in numbers.split()}
