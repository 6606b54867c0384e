"""The tasks that EvalPlus compares in a way of their own, by the names of their functions.

In: a task's id and entry point. Out: the name of the comparison, for `Task.oracle`, or None. The
lists are those of EvalPlus (`eval/_special_oracle.py` and `eval/__init__.py`).

    oracle_of("Mbpp/2", "similar_elements")   # 'set'

    set             the answer and the expected one are equal as sets
    not_none        it only counts whether the answer is None; True and False stand for it, too
    any             every answer is right: the statement can be read in more than one way
    zero            0 is right, too
    surface_area    the surface computed with the other meaning of "height" is right, too
    digit_distance  the distance of the numbers filled up with zeros is right, too
    find_zero       the polynomial is nearly 0 at the answer
"""

from __future__ import annotations

_MBPP = {
    **dict.fromkeys(
        (
            "similar_elements",  # Mbpp/2
            "find_char_long",  # Mbpp/7
            "common_in_nested_lists",  # Mbpp/111
            "extract_singly",  # Mbpp/140
            "larg_nnum",  # Mbpp/232
            "intersection_array",  # Mbpp/249
            "find_dissimilar",  # Mbpp/579
            "Diff",  # Mbpp/769
        ),
        "set",
    ),
    "check_str": "not_none",  # Mbpp/737
    "text_match_three": "not_none",  # Mbpp/787
    "text_starta_endb": "not_none",  # Mbpp/794
    "are_equivalent": "any",  # Mbpp/164
    "sum_div": "zero",  # Mbpp/295
    "surface_Area": "surface_area",  # Mbpp/581
    "digit_distance_nums": "digit_distance",  # Mbpp/558
}
_HUMAN_EVAL = {"find_zero": "find_zero"}  # HumanEval/32


def oracle_of(task_id: str, entry_point: str | None) -> str | None:
    """The comparison that EvalPlus has for this task alone."""
    names = _MBPP if task_id.startswith("Mbpp/") else _HUMAN_EVAL
    return names.get(entry_point or "")
