"""Scanners of others, on the texts of `sensitive.py`. It runs in a Python of its own.

    PEER_PYTHON benchmarks/pool/sensitive_peers.py detect-secrets < texts.json > found.json
    PEER_PYTHON benchmarks/pool/sensitive_peers.py rules:gitleaks.toml < texts.json > found.json

In: a list of texts, as JSON. Out: for each text whether the scanner finds a secret in it, and the
seconds of CPU that all took.

    detect-secrets   the program with its default plugins and filters, on one file per text
    its forms        the same without the plugins for names and for entropy
    rules:FILE       gitleaks' public rules: keywords, pattern, secret group, entropy, allow-lists.
                     Its engine is written anew here, with RE2, the engine of Go's patterns.
                     Not done: decoding of base64 within a text, and rules on paths
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BY_NAME = {"KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString"}


def detect_secrets(texts: list[str], left_out: set[str]) -> list[bool]:
    """Whether the program finds anything in a file of each text."""
    from detect_secrets import SecretsCollection
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.settings import transient_settings

    names = [plugin.__name__ for plugin in get_mapping_from_secret_type_to_class().values()]
    settings = {"plugins_used": [{"name": name} for name in sorted({*names} - left_out)]}
    found = []
    with tempfile.TemporaryDirectory() as folder, transient_settings(settings):
        for number, text in enumerate(texts):
            path = Path(folder, f"module_{number}.py")
            path.write_text(text, "utf-8", "replace")
            secrets = SecretsCollection()
            secrets.scan_file(str(path))
            found.append(any(True for _ in secrets))
            path.unlink()
    return found


def entropy(text: str) -> float:
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def allows(lists: list[dict[str, Any]], secret: str, match: str, line: str) -> bool:
    """Whether an allow-list excuses a finding. Lists that need a path do not."""
    for allow in lists:
        if allow["paths"] and allow["condition"] == "AND":
            continue
        text = {"match": match, "line": line}.get(allow["target"], secret)
        by_text = any(pattern.search(text) for pattern in allow["regexes"])
        by_word = any(word in secret.lower() for word in allow["stopwords"])
        both = allow["condition"] == "AND" and allow["regexes"] and allow["stopwords"]
        if (by_text and by_word) if both else (by_text or by_word):
            return True
    return False


def gitleaks(path: str) -> Callable[[str], bool]:
    """A function that says whether one of the rules of a file finds a secret in a text."""
    import re2

    options = re2.Options()
    options.max_mem, options.log_errors = 1 << 28, False

    def allow_lists(entry: dict[str, Any]) -> list[dict[str, Any]]:
        lists = entry.get("allowlists", []) + ([entry["allowlist"]] if "allowlist" in entry else [])
        return [
            {
                "condition": one.get("condition", "OR").upper().replace("&&", "AND"),
                "target": one.get("regexTarget", ""),
                "paths": one.get("paths", []),
                "regexes": [re2.compile(pattern, options) for pattern in one.get("regexes", [])],
                "stopwords": [word.lower() for word in one.get("stopwords", [])],
            }
            for one in lists
        ]

    config = tomllib.loads(Path(path).read_text("utf-8"))
    everywhere = allow_lists(config)
    rules = [
        (rule, re2.compile(rule["regex"], options), allow_lists(rule))
        for rule in config["rules"]
        if "regex" in rule and "path" not in rule
    ]

    def hits(text: str) -> Iterator[str]:
        low = text.lower()
        for rule, pattern, own in rules:
            words = rule.get("keywords", [])
            if words and not any(word.lower() in low for word in words):
                continue
            for match in pattern.finditer(text):
                groups = [group or "" for group in match.groups()]
                secret = match[0].strip("\n")
                if groups:
                    number = rule.get("secretGroup", 0)
                    secret = groups[number - 1] if number else next(filter(None, groups), secret)
                start, stop = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
                line = text[start : stop if stop >= 0 else len(text)]
                is_low = bool(rule.get("entropy")) and entropy(secret) <= rule["entropy"]
                if secret and not is_low and not allows([*everywhere, *own], secret, match[0], line):
                    yield rule["id"]

    return lambda text: next(hits(text), None) is not None


def main() -> None:
    """Read texts from the standard input and write what was found."""
    which, texts = sys.argv[1], json.load(sys.stdin)
    if which.startswith("rules:"):
        check = gitleaks(which.removeprefix("rules:"))
        began = time.process_time()
        found = list(map(check, texts))
    else:
        began = time.process_time()
        found = detect_secrets(texts, BY_NAME if which == "its forms" else set())
    json.dump({"found": found, "seconds": time.process_time() - began}, sys.stdout)


if __name__ == "__main__":
    main()
