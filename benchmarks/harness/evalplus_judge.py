"""EvalPlus's verdicts on answers. To be run by the Python of an environment with evalplus 0.3.1.

In: a JSON file of settings as the only argument, and JSON lines of answers (answer_id, benchmark,
task_id, text, is_code). Out: JSON lines of verdicts, one an answer. Answers are sanitized as
`evalplus.codegen` does, `is_code` ones are taken as they are. `agreement.py` starts this program.
"""

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed


def main() -> None:
    with open(sys.argv[1]) as file:
        settings = json.load(file)
    os.environ["HUMANEVAL_OVERRIDE_PATH"] = settings["humaneval"]
    os.environ["MBPP_OVERRIDE_PATH"] = settings["mbpp"]
    os.environ["XDG_CACHE_HOME"] = settings["folder"]

    from evalplus.data import get_human_eval_plus, get_mbpp_plus
    from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
    from evalplus.evaluate import get_groundtruth

    with open(settings["answers"]) as file:
        answers = [json.loads(line) for line in file]
    used = {answer["task_id"] for answer in answers}
    problems, expected = {}, {}
    loaded = {"humaneval": (get_human_eval_plus, []), "mbpp": (get_mbpp_plus, MBPP_OUTPUT_NOT_NONE_TASKS)}
    for name, (load, not_none) in loaded.items():
        of_benchmark = {task_id: problem for task_id, problem in load().items() if task_id in used}
        problems |= {task_id: (name, problem) for task_id, problem in of_benchmark.items()}
        expected |= get_groundtruth(of_benchmark, f"{name}-{len(of_benchmark)}", not_none)
    counts = {k: len(p["base_input"]) + len(p["plus_input"]) for k, (_, p) in problems.items()}
    print("TESTS", json.dumps(counts), flush=True)

    started, cpu = time.monotonic(), cpu_seconds()
    with open(settings["verdicts"], "a") as out, ProcessPoolExecutor(max_workers=settings["workers"]) as pool:
        futures = [pool.submit(verdict, a, *problems[a["task_id"]], expected[a["task_id"]]) for a in answers]
        for future in as_completed(futures):
            out.write(json.dumps(future.result()) + "\n")
            out.flush()
    print("SECONDS", json.dumps([time.monotonic() - started, cpu_seconds() - cpu]), flush=True)


def verdict(answer: dict, benchmark: str, problem: dict, expected: dict) -> dict:
    """The verdict on one answer. fast_check, as `evalplus.evaluate` does by default."""
    from evalplus.evaluate import check_correctness
    from evalplus.sanitize import sanitize

    started = time.monotonic()
    code = answer["text"]
    if not answer["is_code"]:
        if answer["form"] == "completion":
            code = problem["prompt"].strip() + "\n" + code
        try:
            code = sanitize(code, problem["entry_point"])
        # Null bytes and the like.
        except ValueError:
            code = ""
    sanitized = time.monotonic()
    found = check_correctness(benchmark, 0, problem, code, expected, fast_check=True)
    return {
        "answer_id": answer["answer_id"],
        "base": found["base"][0],
        "plus": found["plus"][0],
        "code": code,
        "sanitize_s": sanitized - started,
        "check_s": time.monotonic() - sanitized,
    }


def cpu_seconds() -> float:
    """Of the whole machine: the processes that evalplus ends by force are not counted to it."""
    with open("/proc/stat") as file:
        ticks = [int(tick) for tick in file.readline().split()[1:]]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
