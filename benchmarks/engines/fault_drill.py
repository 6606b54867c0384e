"""A drill: an endpoint fails in every way, the client is killed, and no answer may be paid for
twice.

    # 10,000 requests, two kills
    .venv/bin/python benchmarks/engines/fault_drill.py
    # a quick look
    .venv/bin/python benchmarks/engines/fault_drill.py --requests 500 --first-backoff-s 0.05

A provider in its own process answers a share of the attempts with faults of all kinds. It gives the
other answers after varied times, so out of order, and in varied forms: without usage, as a stream
of events, in parts. A few rows are poison: they never pass. A few others are answered in a form
that nobody reads: they are paid once, and not asked again. The provider takes no seed. A client
(`builders.engines.answers.Answers`, the openai engine, a real store) is killed at seeded random
moments and started again with the same command, until it ends.

An answer counts as "in full" when the provider wrote its last byte while the client was connected.
Cut answers, and answers that the client stopped waiting for, do not count. No client can know what
was under way at a kill. Such answers are counted apart, and only these may be paid for twice. The
journal is read after each kill, before the restart: what it holds may not be asked for again.

Prints tables of attempts, kills and checks. Exits 1 when a check fails.

By default the constants are the engine's own. Most of the time is then spent on what 429s do: each
halves the calls in flight, and a Retry-After (1 s) pauses all of them. So a Retry-After is drawn
four times less often than each other fault. The client's time-out is 1.5 s, because slow answers
would otherwise take most of the time. Use `--first-backoff-s` for quick looks only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders.engines import Completion, OpenAISettings, Request, endpoint, open_engine
from builders.engines.answers import journals, open_answers, usage
from store import CONTRACTS, Plan, Store
from store.runs import Usage
from tests.fault_server import FaultServer, chance, ok, question

SHARD = 250
TIMEOUT_S = 1.5
SLOW_S = 2.5
LONGEST_LATENCY_S = 0.1
POISON_SHARE = 0.005
# Fewer than the retries of the engine, so that every row but the poison is answered in the end.
MOST_FAULTS = 5
OTHERS = (
    "429", "500", "slow", "cut", "cut-midway", "truncated", "wrong-schema", "error-200", "html", "empty",
)  # fmt: skip
FAULTS = {"429-seconds": 1, **dict.fromkeys(OTHERS, 4)}
DRAWN = [fault for fault, weight in FAULTS.items() for _ in range(weight)]
GONE, SEED = "client was gone", "seed was refused"
FORMS = ("plain", "no usage", "stream", "parts", "blank lines")
UNREADABLE_SHARE = 0.003
POISONS = ("500", "cut", "truncated", "wrong-schema", "slow", "error-200", "html", "empty")


def asked_text(number: int) -> str:
    """What the row asks. The provider recognises a request by it."""
    return f"question {number} of the drill"


def answer_text(number: int) -> str:
    """What its own answer says."""
    return f"answer to question {number} of the drill"


def poisoned(options: argparse.Namespace) -> set[int]:
    """The rows that never pass."""
    return set(random.Random(options.seed).sample(range(options.requests), round(POISON_SHARE * options.requests)))


def unreadable(options: argparse.Namespace) -> set[int]:
    """The rows that are answered in a form that nobody reads."""
    sound = sorted(set(range(options.requests)) - poisoned(options))
    return set(random.Random(f"forms {options.seed}").sample(sound, round(UNREADABLE_SHARE * options.requests)))


# -- the provider ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """A line of the provider's book. Its times come from the clock that all processes share."""

    began: float
    ended: float
    number: int
    fault: str
    is_poison: bool
    is_whole: bool


class Provider(FaultServer):
    """A fault server that writes every attempt into a book once it ended."""

    def __init__(self, book: Path, options: argparse.Namespace) -> None:
        self._book = open(book, "a", buffering=1)  # noqa: SIM115, open as long as the process
        self._options, self._poison, self._unreadable = options, poisoned(options), unreadable(options)
        super().__init__(lambda body, attempt: "never asked")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        began, body = time.monotonic(), await request.json()
        text = question(body)
        if "seed" in body:
            self._write(began, int(text.split()[1]), SEED, is_whole=False)
            return web.json_response({"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}, status=422)
        number, attempt = int(text.split()[1]), self.asked[text]
        self.asked[text] += 1
        self.under_way += 1
        fault, is_whole = self._fault(number, attempt), False
        try:
            latency = LONGEST_LATENCY_S * chance(self._options.seed, number, attempt, "latency")
            await asyncio.sleep(SLOW_S if fault == "slow" else latency)
            if request.transport is None or request.transport.is_closing():
                fault = "slow" if fault == "slow" else GONE
                return web.Response()
            if fault not in ("", "slow"):
                return await self._fail(request, fault, attempt)
            response = self._answered(number)
            is_whole = await is_written(request, response)
            return response
        finally:
            self.under_way -= 1
            self._write(began, number, fault, is_whole=is_whole)

    def _write(self, began: float, number: int, fault: str, *, is_whole: bool) -> None:
        line = Attempt(began, time.monotonic(), number, fault, number in self._poison, is_whole)
        self._book.write(json.dumps(asdict(line)) + "\n")

    def _answered(self, number: int) -> web.Response:
        """The answer of a row, in one of the forms that providers use."""
        if number in self._unreadable:
            return web.json_response({"generated_text": answer_text(number)})
        form = FORMS[int(chance(self._options.seed, number, "form") * len(FORMS))]
        text = answer_text(number)
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        if form == "stream":
            event = {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}
            return web.Response(text=f": wait\n\ndata: {json.dumps(event)}\n\ndata: [DONE]\n\n")
        if form == "parts":
            parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
            return web.json_response({"choices": [choice | {"message": {"content": parts}}]})
        if form == "no usage":
            return web.json_response({"choices": [choice]})
        return ok(text) if form == "plain" else web.Response(text=f"\n\n \n{ok(text).text}")

    def _fault(self, number: int, attempt: int) -> str:
        seed = self._options.seed
        if number in self._poison:
            return POISONS[number % len(POISONS)]
        if attempt >= MOST_FAULTS or chance(seed, number, attempt, "is bad") >= self._options.faults:
            return ""
        return DRAWN[int(chance(seed, number, attempt, "which") * len(DRAWN))]


async def is_written(request: web.Request, response: web.Response) -> bool:
    """Write an answer to its last byte. False if the client went away meanwhile."""
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return True


def serve(book: Path, options: argparse.Namespace) -> None:
    """Print the address, answer until stdin is closed, and end the book."""
    provider = Provider(book, options)
    print(provider.url, flush=True)
    sys.stdin.read()
    while provider.under_way:
        time.sleep(0.05)
    provider.close()


# -- the client ------------------------------------------------------------------------------------


def plan_of(options: argparse.Namespace) -> Plan:
    """One row per request, an error too."""
    num_shards = -(-options.requests // SHARD)
    fields = {"requests": options.requests}
    return Plan(table="candidates", partition={"iteration": 1}, fields=fields, num_shards=num_shards)


def ask(url: str, folder: Path, options: argparse.Namespace) -> None:
    """Build the table, or what is missing of it."""
    endpoint.FIRST_BACKOFF_S = options.first_backoff_s
    settings = OpenAISettings(base_url=url, timeout_s=TIMEOUT_S, max_in_flight=options.in_flight)
    store, plan = Store(folder), plan_of(options)

    def requests_of(shard: int) -> list[Request]:
        numbers = range(shard * SHARD, min(options.requests, (shard + 1) * SHARD))
        return [Request(f"q{n}", messages=({"role": "user", "content": asked_text(n)},), seed=n) for n in numbers]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        completions = answers.of(shard, [request.request_id for request in requests_of(shard)])
        table = pa.Table.from_pylist([row(c) for c in completions], schema=CONTRACTS["candidates"].schema)
        return table, usage(settings, completions)

    store.begin(plan)
    with (
        open_engine(settings, "m") as engine,
        open_answers(journals(store, plan), store.missing(plan), settings, engine.generate, requests_of) as answers,
    ):
        store.materialize(plan, make)


def row(completion: Completion) -> dict[str, object]:
    """A row of candidates."""
    return {
        "candidate_id": completion.request_id,
        "iteration": 1,
        "snippet_id": asked_text(int(completion.request_id[1:])),
        "checkpoint_id": "m",
        "sample_index": 0,
        "completion": completion.text,
        "parse_status": "engine_error" if completion.finish_reason == "error" else "ok",
        "finish_reason": completion.finish_reason,
        "prompt_version": "",
        "prompt_tokens": completion.num_prompt_tokens,
        "completion_tokens": completion.num_completion_tokens,
    }


# -- the drill -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    """A client from its start to its end, and the numbers that the journal held at its end."""

    began: float
    ended: float
    journalled: set[int]


def journalled(folder: Path) -> set[int]:
    """The numbers of all whole lines with an answer, read or paid for; a last line may be cut."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines(keepends=True)]
    records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {int(record["request_id"][1:]) for record in records if record["num_completion_tokens"]}


def run_client(command: list[str], journal: Path, book: Path, kill_at: int | None, delay_s: float) -> Life:
    """Run to the end, or kill `delay_s` after the book holds `kill_at` answers in full."""
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while kill_at is not None and process.poll() is None:
            if book.read_bytes().count(b'"is_whole": true') >= kill_at:
                time.sleep(delay_s)
                process.kill()
                break
            time.sleep(0.05)
        _, said = process.communicate()
    ended = time.monotonic()
    if process.returncode != (0 if kill_at is None else -9):
        raise SystemExit(f"the client ended with {process.returncode}, kill_at={kill_at}: {said[-3000:]}")
    return Life(began, ended, journalled(journal))


def drill(folder: Path, options: argparse.Namespace) -> tuple[list[Life], list[Attempt]]:
    """All lives of the client, and the provider's book."""
    book, store = folder / "book.jsonl", folder / "store"
    book.touch()
    journal = journals(Store(store), plan_of(options))
    me = [sys.executable, __file__, *sys.argv[1:]]
    draw, lives = random.Random(f"kills {options.seed}"), []
    with subprocess.Popen([*me, "--serve", str(book)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as provider:
        assert provider.stdin is not None and provider.stdout is not None
        command = [*me, "--ask", provider.stdout.readline().decode().strip(), "--store", str(store)]
        try:
            for kill in range(options.kills):
                share = (kill + draw.uniform(0.5, 1.5)) / (options.kills + 1)
                at, delay_s = int(share * options.requests), draw.uniform(0, 0.5)
                lives.append(run_client(command, journal, book, at, delay_s))
            lives.append(run_client(command, journal, book, None, 0.0))
        finally:
            provider.stdin.close()
    return lives, [Attempt(**json.loads(line)) for line in book.read_text().splitlines()]


# -- the account -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """What the book says of each life.

    `lost` answers were given in full, but were not in the journal when the life ended.
    """

    asked_again: list[int]
    paid_again: list[int]
    twice_in_one_life: list[int]
    lost: list[set[int]]
    under_way: list[int]
    repeated: set[int]


def account(lives: list[Life], book: list[Attempt]) -> Account:
    """Compare the book with the journal as it was at the end of each life."""
    # The provider may still read a request of a killed client from the connection after the kill.
    ends = [*(life.began for life in lives[1:]), math.inf]
    of_life = [[a for a in book if life.began <= a.began < end] for life, end in zip(lives, ends, strict=True)]
    whole = [[a.number for a in attempts if a.is_whole] for attempts in of_life]
    before = [set[int](), *(life.journalled for life in lives[:-1])]
    return Account(
        asked_again=[
            a.number for known, attempts in zip(before, of_life, strict=True) for a in attempts if a.number in known
        ],
        paid_again=[n for known, numbers in zip(before, whole, strict=True) for n in numbers if n in known],
        twice_in_one_life=[n for numbers in whole for n in repeated(numbers)],
        lost=[set(numbers) - life.journalled for numbers, life in zip(whole, lives, strict=True)],
        under_way=[sum(a.ended >= life.ended for a in each) for each, life in zip(of_life, lives, strict=True)],
        repeated=repeated(n for numbers in whole for n in numbers),
    )


def repeated(numbers: Iterable[int]) -> set[int]:
    """Those that are there more than once."""
    return {number for number, count in Counter(numbers).items() if count > 1}


def print_attempts(book: list[Attempt]) -> None:
    """Attempts by what became of them."""
    kinds = Counter(
        "of poison rows" if a.is_poison else a.fault or ("answered in full" if a.is_whole else GONE) for a in book
    )
    num_good = len(book) - kinds["of poison rows"]
    print(f"\n{'attempts':<28}{'number':>8}{'share':>8}")
    for kind in ("answered in full", *FAULTS, SEED, GONE):
        print(f"{kind:<28}{kinds[kind]:>8,}{kinds[kind] / num_good:>8.2%}")
    num_faulty = sum(kinds[fault] for fault in FAULTS)
    print(f"{'faulty, of all but poison':<28}{num_faulty:>8,}{num_faulty / num_good:>8.2%}")
    print(f"{'of poison rows, all faulty':<28}{kinds['of poison rows']:>8,}")
    highest, num_late = -1, 0
    for attempt in sorted((a for a in book if a.is_whole), key=lambda a: a.ended):
        num_late += attempt.number < highest
        highest = max(highest, attempt.number)
    print(f"{'answered out of order':<28}{num_late:>8,}")


def print_lives(lives: list[Life], found: Account) -> None:
    """What each life of the client left."""
    print(f"\n{'client':<12}{'wall s':>8}{'in the journal':>16}{'under way':>11}{'in full, not in the journal':>29}")
    for number, (life, lost, under_way) in enumerate(zip(lives, found.lost, found.under_way, strict=True)):
        name = "to the end" if number == len(lives) - 1 else f"kill {number + 1}"
        wall_s = life.ended - life.began
        print(f"{name:<12}{wall_s:>8.1f}{len(life.journalled):>16,}{under_way:>11,}{len(lost):>29,}")


def checks(
    store: Store, book: list[Attempt], found: Account, options: argparse.Namespace
) -> list[tuple[str, int, int]]:
    """What was found, and what it should be."""
    rows = [r for table in store.read("candidates", iteration=1) for r in table.to_pylist()]
    poison, errors = poisoned(options) | unreadable(options), [r for r in rows if r["parse_status"] == "engine_error"]
    answered = [r for r in rows if r["parse_status"] == "ok"]
    foreign = [r for r in answered if r["completion"] != answer_text(int(r["candidate_id"][1:]))]
    most_lost = max((len(lost) for lost in found.lost[:-1]), default=0)
    kinds = Counter(a.fault for a in book if not a.is_poison)
    return [
        ("distinct rows out, of the rows in", len({r["candidate_id"] for r in rows}), options.requests),
        ("rows with an answer + rows with an error", len(answered) + len(errors), options.requests),
        ("rows with an answer", len(answered), options.requests - len(poison)),
        (
            "rows with an error: poison, or unreadable",
            len({int(r["candidate_id"][1:]) for r in errors} & poison),
            len(poison),
        ),
        ("rows with an error", len(errors), len(poison)),
        ("rows with the answer of another", len(foreign), 0),
        ("kinds of fault met", sum(kinds[fault] > 0 for fault in FAULTS), len(FAULTS) if options.faults else 0),
        ("slow answers that arrived", sum(a.fault == "slow" and a.is_whole for a in book), 0),
        ("asked again, though in the journal", len(found.asked_again), 0),
        ("paid again, though in the journal", len(found.paid_again), 0),
        ("paid twice by one client", len(found.twice_in_one_life), 0),
        ("paid twice, not under way at a kill", len(found.repeated - set().union(*found.lost[:-1])), 0),
        ("in full, not in the journal at the end", len(found.lost[-1]), 0),
        (f"under way at a kill beyond {options.in_flight}", max(0, most_lost - options.in_flight), 0),
    ]


def main() -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--faults", type=float, default=0.2, help="share of the attempts")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--first-backoff-s", type=float, default=endpoint.FIRST_BACKOFF_S)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options)
        return 0
    if options.ask:
        ask(options.ask, options.store, options)
        return 0
    with tempfile.TemporaryDirectory(prefix="fault-drill-") as folder:
        began = time.monotonic()
        lives, book = drill(Path(folder), options)
        wall_s = time.monotonic() - began
        found = account(lives, book)
        print(
            f"{options.requests:,} requests, {options.faults:.0%} of the attempts faulty, {options.kills} kills, seed {options.seed}, "
            f"{options.in_flight} in flight, first back-off {options.first_backoff_s:g} s: {wall_s:.0f} s"
        )
        print_attempts(book)
        print_lives(lives, found)
        num_unknown = len(found.repeated & set().union(*found.lost[:-1]))
        print(
            f"\nids answered in full more than once: {len(found.repeated)}, of these under way at a kill: {num_unknown}"
        )
        print(f"\n{'check':<42}{'found':>8}{'right':>8}")
        all_checks = checks(Store(Path(folder, "store")), book, found, options)
        for name, value, right in all_checks:
            print(f"{name:<42}{value:>8,}{right:>8,}  {'ok' if value == right else 'VIOLATED'}")
        return int(any(value != right for _, value, right in all_checks))


if __name__ == "__main__":
    sys.exit(main())
