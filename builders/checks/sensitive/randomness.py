"""Whether a value was drawn at random, or is a word, a name or a placeholder.

In: one value, such as the text of a string. Out: yes or no.

How: three signs that are cheap. A drawn value has a high entropy. Its neighbouring letters are
seldom neighbours in words, and its letters and digits alternate. A placeholder is made of words
such as "example", of runs such as "1234" or "xxxx", or stands in a published document.

    is_drawn("Zq8vT2mLr9XwKc4NyB7h"), is_drawn("distilbert-base-v2")    # (True, False)
    is_made_up("your-api-key-123")                                      # True
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from operator import add

LONGEST = 300
"""Characters of a value that are looked at, from its end. So a value of megabytes costs no more."""
_LEAST_BITS = 2.8
_MOST_READABLE = 0.62
"""Of 20,000 random values of 16 letters and digits, three are more readable than this. Of the 8,684
different strings with letters and digits in 180,000 real functions, eight of ten are.
"""
_FOLLOWERS = {
    "a": "bcdgilmnprstuvy", "b": "aeilosu", "c": "acehiklorstu", "d": "adeiosu",
    "e": "acdefgilmnpqrstvx", "f": "aefiloru", "g": "aehinrsu", "h": "aeio",
    "i": "abcdefglmnoprstvz", "k": "ei", "l": "adeilostuy", "m": "abeimopsu",
    "n": "acdefginostuv", "o": "abcdgiklmnoprstuvw", "p": "aeiloprstuy", "q": "u",
    "r": "acdegikmnorstuy", "s": "acehilopstuy", "t": "acehilorstuy", "u": "abceilmnprst",
    "v": "aei", "w": "aei", "x": "pt", "y": "p", "z": "e",
}  # fmt: skip
"""The 220 commonest pairs of letters in the names of 20,000 functions: nine of ten pairs there, one
of three among random letters.
"""
_LETTERS = string.ascii_letters
_PAIRS = frozenset(a + b for a in _LETTERS + string.digits for b in _LETTERS + string.digits if not (a + b).isdigit())
_READABLE = frozenset(
    pair for a, after in _FOLLOWERS.items() for b in after for pair in (a + b, (a + b).capitalize(), (a + b).upper())
)
_SIGNS = string.ascii_lowercase + string.digits
_STEPS = frozenset(a + b for a in _SIGNS for b in _SIGNS if abs(ord(a) - ord(b)) <= 1)
_TEMPLATE = re.compile(
    r"\.\.\.|…|\*{3}|_{5}|\{[^{}]{0,80}\}|\$\{|\$\(|^\$[A-Za-z_]+$|<[^<>]{0,80}>|%\([a-z_]{1,40}\)|(?<![^\s:=/])%[sdr](?![A-Za-z0-9])"
)
_PUBLISHED = re.compile(
    # keys that end so are AWS's samples; then those of AWS, jwt.io, RFC 7519, RFC 6749 and 6750,
    # RFC 5849, RFC 7617, RFC 9562, the storage emulator of Azure, Stripe's and Twilio's guides
    "EXAMPLE(?:KEY)?$|IOSFODNN7|K7MDENG|IkpvaG4gRG9l|eyJpc3MiOiJqb2Ui|2YotnFZF|tGzv3JOk|SplxlOBe|mF_9.B5f|hh5s93j4|kkk9d7dh"
    "|dpf43f3p|nnch734d|9djdj82h|QWxhZGRpbj|123e4567-e89b|Eby8vdM0|4eC39Hq|BQokikJO|czZCaGRSa3|hdhd0244|pfkkdhi9|45ghiukl"
)
_WORDS = re.compile(
    "example|sample|dummy|placeholder|change_?me|change|replace|insert|fake|mock|redacted|hidden|invalid|testing|tester|test"
    "|password|passwd|passphrase|pass|secret|token|credentials?|private|public|access|auth|admin|username|user|client|server"
    "|default|demo|your|here|goes|some|value|string|hello|world|welcome|letmein|please|super|very|long|random|strong|secure"
    "|deadbeef|cafebabe|qwerty|asdf|zxcv|lorem|ipsum|correct|horse|battery|staple|foo|bar|baz|qux|xyz|abc|key|api|my|the|this"
    "|(?:sha|aes|hmac|rsa|pbkdf)-?[0-9]{0,3}|with|and|cbc"
)
_ENDS_AS_NAME = re.compile("(?:[a-z0-9](?:Token|Key|Secret|Password|Id|Name)|_(?:token|key|secret|password|id|name))$")
_ADDRESS = re.compile("0x[0-9A-Fa-f]{40}$")
"""What names an account of Ethereum. A key is longer."""
_FOLDED = str.maketrans("0134578@$!", "oleastbasi")
"""Letters that are written as digits, as in "p4ssw0rd"."""
_JOINING = str.maketrans("", "", " \t\n_.:/-")
_WORDY = "(?:[A-Z]?[a-z]{1,15}[0-9]{0,3}|[A-Z]{1,15}[0-9]{0,3}|[0-9]{1,4}[A-Za-z]{0,2})"
_NAME = re.compile(rf"{_WORDY}(?:[._/:-]{_WORDY})*")
"""Words and numbers with something between them: `OPENAI_API_KEY`, `meta-llama/Llama-2-7b`."""


def entropy(text: str) -> float:
    """Shannon entropy of the characters, in bits per character; 0 for an empty text."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def is_made_up(value: str) -> bool:
    """Whether a value is a placeholder, as a whole.

    More than half of it is made-up words, runs and steps, or it is a template, or published. A word
    that occurs by chance in a random value does not count.
    """
    if any(other.search(value) for other in (_TEMPLATE, _PUBLISHED, _ENDS_AS_NAME, _ADDRESS)):
        return True
    lowered = value[-LONGEST:].lower()
    signs = "".join(filter(str.isalnum, lowered))
    if not signs or _share_of_steps(signs) > 0.5 or _is_repeated(signs):
        return True
    left = min((_WORDS.sub("", text) for text in (lowered, lowered.translate(_FOLDED))), key=len)
    return 2 * len(left.translate(_JOINING)) < len(signs)


def is_drawn(value: str, *, bits: float = _LEAST_BITS) -> bool:
    """Whether a value looks drawn at random, and is no placeholder.

    `bits` is the least entropy per character.
    """
    value = value[-LONGEST:]
    if _NAME.fullmatch(value):
        return False
    return readability(value) < _MOST_READABLE and entropy(value) >= bits and not is_made_up(value)


def readability(value: str) -> float:
    """The share of neighbouring letters that are neighbours in words: 1 is a word, 0 is none.

    A letter beside a digit counts as a pair that is no word's, and so does the capital letter
    within a name. Digits beside digits do not count.
    """
    pairs = list(map(add, value, value[1:]))
    num = sum(map(_PAIRS.__contains__, pairs))
    return sum(map(_READABLE.__contains__, pairs)) / num if num else 1.0


def _share_of_steps(signs: str) -> float:
    """The share of characters that continue a run: "aaaa", "1234", "fedc" or "a1b2c3"."""
    most = max(sum(map(_STEPS.__contains__, map(add, signs, signs[n:]))) for n in (1, 2))
    return most / max(1, len(signs) - 1)


def _is_repeated(signs: str) -> bool:
    """Whether a value of some length has few different triples: "abc7abc7abc7abc7"."""
    triples = len(signs) - 2
    return triples > 8 and len(set(zip(signs, signs[1:], signs[2:], strict=False))) < 0.4 * triples
