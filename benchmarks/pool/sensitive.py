"""Secrets: the share found of each kind, and false alarms in real functions, beside other scanners.

    python benchmarks/pool/sensitive.py --peer-python /path/to/python --rules gitleaks.toml

    found     300 of each of 46 kinds, made by the rules of their formats, in lines of Python
              as people write them (`sensitive_kinds.py`)
    alarms    10,000 documented functions of the standard library and of installed packages, or of
              the folders of `--sources`. Each alarm of ours is printed, to be read
    speed     megabytes of those functions per second of CPU

Peers run in a Python of their own: `python -m venv DIR; DIR/bin/pip install detect-secrets
google-re2`. gitleaks' rules are the file config/gitleaks.toml of github.com/gitleaks/gitleaks.
Without these options their columns are left out.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sensitive_kinds import KINDS

from builders.checks import sensitive
from builders.code.functions import extract

PEERS = Path(__file__).with_name("sensitive_peers.py")
BATCH = 400


def made(number: int, seed: int) -> dict[str, list[str]]:
    """For each kind, functions with one credential in each."""
    texts = {}
    for kind, make in KINDS.items():
        drawn = random.Random(f"{seed} {kind}")
        texts[kind] = [f"def connect():\n    {make(drawn)}\n" for _ in range(number)]
    return texts


def real(number: int, seed: int, folders: list[str]) -> dict[str, str]:
    """Documented functions, drawn at random, and the file that each is from."""
    files = sorted({f for folder in folders for f in Path(folder).rglob("*.py") if f.stat().st_size < 500_000})
    random.Random(seed).shuffle(files)
    found: dict[str, str] = {}
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        for file, one in zip(batch, extract([f.read_text("utf-8", "replace") for f in batch]), strict=True):
            found |= {function.code: str(file) for function in one.functions}
        if len(found) >= 4 * number:
            break
    drawn = random.Random(seed).sample(sorted(found), min(number, len(found)))
    return {code: found[code] for code in drawn}


def ours(texts: list[str]) -> tuple[list[bool], float]:
    """Whether a secret is found in each text, and the seconds of CPU."""
    began = time.process_time()
    found = [bool(sensitive.secrets(text)) for text in texts]
    return found, time.process_time() - began


def peer(python: str, which: str, texts: list[str]) -> tuple[list[bool], float]:
    """The same by another scanner."""
    done = subprocess.run([python, str(PEERS), which], input=json.dumps(texts), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{which}: {done.stderr[-2000:]}")
    answer = json.loads(done.stdout)
    return answer["found"], answer["seconds"]


def show(codes: dict[str, str], alarms: list[bool]) -> None:
    """Print the alarms: kinds, file and the lines that they are in."""
    for (code, file), is_alarm in zip(codes.items(), alarms, strict=True):
        if is_alarm:
            lines = [line.strip()[:150] for line in code.splitlines() if sensitive.secrets(line)]
            print("alarm:", *sensitive.secrets(code), file, *lines[:3], sep="\n    ")


def main() -> None:
    """Print the shares by kind, the alarms and the speeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=300, help="texts of each kind")
    parser.add_argument("--functions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", nargs="*", help="folders of Python files; without it, what is installed")
    parser.add_argument("--peer-python", help="a Python with detect-secrets and google-re2")
    parser.add_argument("--rules", help="gitleaks' file of rules")
    options = parser.parse_args()
    tools = {"ours": ours}
    if options.peer_python:
        names = ["detect-secrets", "its forms", *([f"rules:{options.rules}"] if options.rules else [])]
        tools |= {name: lambda texts, name=name: peer(options.peer_python, name, texts) for name in names}
    texts = made(options.number, options.seed)
    flat = [text for kind in texts.values() for text in kind]
    shares = {}
    for name, tool in tools.items():
        found = iter(tool(flat)[0])
        shares[name] = {kind: sum(next(found) for _ in of) / len(of) for kind, of in texts.items()}
    print("|".join(["kind".ljust(34), *(name.split(":")[0].rjust(15) for name in tools)]))
    for kind in texts:
        print("|".join([kind.ljust(34), *(f"{shares[name][kind]:15.1%}" for name in tools)]))
    for name in tools:
        least = min(shares[name].values())
        most = sum(share >= 0.99 for share in shares[name].values())
        print(f"{name}: {most} of {len(texts)} kinds at 99% or more, the least {least:.1%}")
    installed = [sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"]]
    codes = real(options.functions, options.seed, options.sources or installed)
    size = sum(map(len, codes)) / 1e6
    print(f"\n{len(codes)} functions, {size:.1f} MB")
    for name, tool in tools.items():
        alarms, seconds = tool(list(codes))
        print(f"{name}: {sum(alarms)} alarms, {size / seconds:.1f} MB per second of CPU")
        if name == "ours":
            show(codes, alarms)


if __name__ == "__main__":
    main()
