"""Credentials and personal data: real forms are found, what documentation makes up is not.

The credentials are put together here, so that no scanner of repositories takes them for a leak.
"""

import re
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.checks import sensitive
from builders.checks.sensitive import entropy, personal_data, secrets

DRAWN = "Zq8vT2mLr9XwKc4NyB7hJd3FgS6pUe1AoVtR"


@pytest.mark.parametrize(
    "text, kind",
    [
        ("key = '" + "AKIA" + "QYLPMN5HG7RTWZ2K" + "'", "aws_access_key"),
        ("gh" + "p_" + DRAWN, "github_token"),
        ("git" + "hub_pat_" + "11ABCDE7Y0" + DRAWN * 2, "github_token"),
        ("ey" + "J" + DRAWN + ".ey" + "J" + DRAWN + "foo1234" + DRAWN + "." + DRAWN, "json_web_token"),
        ("glpat" + "-" + DRAWN[:20], "gitlab_token"),
        ("'AI" + "za" + DRAWN[:35] + "'", "google_api_key"),
        ("hf" + "_" + "".join(c for c in DRAWN * 2 if c.isalpha())[:34], "huggingface_token"),
        ("ey" + "J" + DRAWN[:20] + ".ey" + "J" + DRAWN[:20] + "." + DRAWN[:20], "json_web_token"),
        ("sk" + "-proj-" + DRAWN, "openai_key"),
        ("-----BEGIN RSA PRIVATE " + "KEY-----\\nMII" + DRAWN + DRAWN, "private_key"),
        ("xox" + "b-" + DRAWN[:24], "slack_token"),
        ("sk" + "_live_" + DRAWN[:24], "stripe_key"),
        ("API_KEY: str = '" + DRAWN[:24] + "'", "assigned_secret"),
        ("{'client_secret': \"" + DRAWN[:24] + '"}', "assigned_secret"),
        ("db = 'postgres://svc:" + DRAWN[:12] + "@db.internal:5432/x'", "password_in_address"),
    ],
)
def test_credentials_are_found_by_kind(text, kind):
    assert secrets(f"def f():\n    {text}\n") == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "key = 'AKIA" + "IOSFODNN7EXAMPLE'",
        "password = 'your-password-here-1'",
        "api_key = os.environ['OPENAI_API_KEY']",
        "token = 'xxxxxxxxxxxxxxxx1234'",
        "secret_key = 'aaaaaaaaaaaaaaaa1111'",
        "password = getpass('Password for the account: ')",
        "if line == '-----BEGIN RSA PRIVATE KEY-----':",
        "redis://user:${REDIS_PASSWORD}@host",
        "http://user:password@proxy",
        "sk-learn-contrib-and-other-packages" * 2,
        "digest = 'd41d8cd98f00b204e9800998ecf8427e'",
        "",
    ],
)
def test_placeholders_and_names_are_no_credentials(text):
    assert secrets(text) == []


@pytest.mark.parametrize(
    "text, kinds",
    [
        ("# by Mary Major <mary.major@uni-bremen.de>", ["email"]),
        ("call +49 421 218 60000", ["phone"]),
        ("call (415) 867-9301 or", ["phone"]),
        ("HOST = '91.198.174.192'", ["ip_address"]),
        ("m@uni-bremen.de mary@uni-bremen.de 91.198.174.192", ["email", "ip_address"]),
    ],
)
def test_personal_data_is_found_by_kind(text, kinds):
    assert personal_data(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com, foo@bar.com, john.doe@gmail.com, noreply@github.com, dev@lists.apache.org",
        "git@github.com:org/repo.git",
        "y = weights@matrix.it(3)",
        "@decorator.io\ndef f(): pass",
        "127.0.0.1 192.168.1.20 10.0.0.8 8.8.8.8 255.255.255.0 192.0.2.44 999.1.1.1",
        "version 5.10.102.1 and 1.2.3.4 and 21.1.0.0",
        "555-867-5309 +1 555 867 5309 123-456-7890 222-222-2222",
        "x = 2024-11-22 + 100-200-3000",
        "a[1.5:-3.25, 10 - 20 - 30]",
        "",
    ],
)
def test_what_documentation_makes_up_is_nobodys(text):
    assert personal_data(text) == []


def test_entropy_is_in_bits_per_character():
    assert entropy("") == 0 and entropy("aaaa") == 0
    assert entropy("ab") == 1 and entropy("abcd") == 2


@pytest.mark.parametrize(
    "piece", ["a.", "a://", "a:", "secret", "key='", "a@", "1.1.", "+11 11 ", "eyJ", "password: ", "x@ab."]
)
def test_a_hostile_text_is_read_in_time(piece):
    """A pattern that looks at every place to the end would take minutes here."""
    text = piece * (400_000 // len(piece)) + "://x@'token"
    assert secrets(text) == [] and personal_data(text) == []


KINDS = (secrets, personal_data)
HOSTILE = [
    "api_key",
    "secret",
    "glpat-",
    "xoxb-",
    "sk-",
    "eyJeyJeyJeyJ-",
    "eyJ" + "a" * 10 + ".",
    "secret",
    "ab.",
    "aa.com.",
    "+1 22 22 ",
    "a1B2c3D4'secret='",
]


def seconds(check: Callable[[str], list[str]], text: str) -> float:
    started = time.process_time()
    check(text)
    return time.process_time() - started


@pytest.mark.drill
def test_five_megabytes_of_anything_take_two_seconds_and_thrice_those_of_code() -> None:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    code = ("".join(p.read_text(encoding="utf-8", errors="replace") for p in files) * 2)[:5_000_000]
    for check in KINDS:
        usual = seconds(check, code)
        for piece in HOSTILE:
            for begin in ("", "aa@"):
                took = seconds(check, (begin + piece * (5_000_000 // len(piece) + 1))[:5_000_000])
                assert took < 2 and took < 3 * usual, (check, begin, piece, took, usual)


def test_what_a_hostile_text_hides_is_still_found() -> None:
    key, jwt = "sk" + "-proj-" + DRAWN, "ey" + "J" + DRAWN[:20] + ".ey" + "J" + DRAWN[:20] + "." + DRAWN[:20]
    assert secrets("sk-" * 9000 + " " + key) == ["openai_key"]
    assert secrets("sk-" * 3 + DRAWN) == ["openai_key"]
    assert secrets("eyJeyJeyJeyJ-" * 9000 + ". " + jwt) == ["json_web_token"]
    assert secrets("eyJ." + jwt) == ["json_web_token"]
    assert personal_data("aa@" + "aa." * 9000 + " mary@" + "a1." * 12 + "uni-bremen.de") == ["email"]


@given(st.lists(st.sampled_from(["sk-", "eyJ", ".", "-", "proj-", " ", "a", "Zq8vT2mLr9", DRAWN]), max_size=14))
def test_patterns_in_one_pass_find_what_simple_ones_find(pieces: list[str]) -> None:
    """The patterns without their second branch, which are slow, have the same first words."""
    text = "".join(pieces)
    slow = {
        "openai_key": r"\bsk-(?:proj-|ant-|svcacct-)?(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{32,}",
        "json_web_token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    }
    for kind, simple in slow.items():
        hits = [m[1] for m in sensitive._TOKENS[kind].finditer(text) if m[1]]
        assert hits == [m[0] for m in re.finditer(simple, text)]


@given(
    st.lists(
        st.sampled_from(["api_key", "secret", "x" * 31, "_a", "'", '"', " ", ":", "=", " str ", DRAWN, DRAWN[:12]]),
        max_size=14,
    )
)
def test_assigned_secrets_are_those_that_a_simple_pattern_finds_at_any_place(pieces: list[str]) -> None:
    """The simple pattern reads a word once for every name in it."""
    text = "".join(pieces)
    simple = re.compile(
        r"""(?i)(?:api_?key|access_?key|secret|passwd|password|auth_?token|access_?token|private_?key)"""
        r"""\w{0,30}["']?\s{0,5}(?::\s{0,5}str\s{0,5})?[:=]\s{0,5}["']([^"'\s]{12,200})["']"""
    )
    expected = {m[1] for at in range(len(text)) if (m := simple.match(text, at))}
    words = [m for m in sensitive._ASSIGNED.finditer(text) if m[2]]
    assert {m[2] for m in words if sensitive._NAME_AT_END.search(m[1])} == expected


def test_a_secret_is_found_behind_a_word_of_many_names() -> None:
    assert secrets("api_key" * 9000 + "='" + DRAWN[:24] + "'") == ["assigned_secret"]
    assert secrets("api_key" + "a" * 31 + "='" + DRAWN[:24] + "'") == []
