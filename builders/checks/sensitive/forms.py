"""Credentials of known form: each service writes its keys in its own way.

In: any text. Out: the kinds of keys in it.

How: each form begins with an opening that few other texts have, such as `ghp_`. One pass finds the
openings of all forms. Only the patterns of those that are there are matched, and what a pattern
calls the random part must look random.

    kinds("key = 'ghp_Zq8v…'")    # {"github_token"}
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import NamedTuple

import ahocorasick_rs

from builders.checks.sensitive.randomness import entropy, is_drawn, is_made_up

_URL = "[A-Za-z0-9_-]"
_WORD = "[A-Za-z0-9]"
_ANY = "([A-Za-z0-9_.=+/-]{24,}+)"


class _Form(NamedTuple):
    """How one kind of key is written: one of the openings, then the body.

    Group 1 of the body is the random part. A match without the group is no hit: it passes over what
    no hit can begin in, so that each character is read a few times only.
    """

    kind: str
    openings: str
    body: str


_FORMS = (
    _Form("age_key", "AGE-SECRET-KEY-1", "([A-Z0-9]{58})"),
    _Form("alibaba_key", "LTAI", rf"({_WORD}{{20}})(?!{_WORD})"),
    _Form("anthropic_key", "sk-ant-", f"({_URL}{{32,}}+)"),
    _Form("atlassian_token", "ATATT3 ATCTT3 ATBB", "([A-Za-z0-9_=-]{20,}+)"),
    _Form("aws_access_key", "AKIA ASIA ABIA ACCA", f"([A-Z0-9]{{16}})(?!{_WORD})"),
    _Form("azure_key", "AccountKey=", "([A-Za-z0-9+/]{86}==)"),
    _Form("azure_key", "SharedAccessKey= SharedSecret=", "([A-Za-z0-9+/]{43}=)"),
    _Form("azure_key", "sig=", "((?:[A-Za-z0-9+/_-]|%[0-9A-Fa-f]{2}){42,}+=?)"),
    _Form("databricks_token", "dapi", f"([0-9a-f]{{32}})(?!{_WORD})"),
    _Form("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", "([0-9a-f]{64})"),
    _Form("discord_webhook", "webhooks/", rf"[0-9]{{17,20}}/({_URL}{{60,}}+)"),
    _Form("docker_token", "dckr_pat_ dckr_oat_", f"({_URL}{{20,}}+)"),
    _Form("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", f"({_WORD}{{36,}}+)"),
    _Form("github_token", "github_pat_", "([A-Za-z0-9_]{60,}+)"),
    _Form("gitlab_token", "glpat- gldt- glrt- glrtr- glcbt- glptt- glft-", f"({_URL}{{20,}}+)"),
    _Form("gitlab_token", "glsoat- glagent- glimt- gloas- glffct- GR1348941", f"({_URL}{{20,}}+)"),
    _Form("google_api_key", "AIza", f"({_URL}{{35}})(?!{_URL})"),
    _Form("google_oauth", "GOCSPX-", f"({_URL}{{28}})(?!{_URL})"),
    _Form("google_oauth", "ya29.", "([A-Za-z0-9_.-]{20,}+)"),
    _Form("google_oauth", "1//0", f"({_URL}{{40,}}+)"),
    _Form("grafana_token", "glsa_ glc_", "([A-Za-z0-9_=+/]{32,}+)"),
    _Form("huggingface_token", "hf_ api_org_", f"({_WORD}{{34,}}+)"),
    _Form("json_web_token", "eyJ", rf"{_URL}{{10,}}+(\.{_URL}{{6,}}+\.{_URL}{{20,}}+)?"),
    _Form("mail_key", "key-", f"([0-9a-f]{{32}})(?!{_WORD})"),
    _Form("mail_key", "xkeysib-", f"([0-9a-f]{{64}}-{_WORD}{{16}})"),
    _Form("model_key", "gsk_ pplx- pcsk_ tvly- csk- lsv2_pt_ lsv2_sk_", "([A-Za-z0-9_-]{32,}+)"),
    _Form("model_key", "nvapi- xai-", f"({_URL}{{60,}}+)"),
    _Form("model_key", "r8_", f"({_WORD}{{37}})(?!{_WORD})"),
    _Form("npm_token", "npm_", f"({_WORD}{{36,}}+)"),
    _Form("openai_key", "sk-", f"(?!ant-)({_URL}{{20,}}+)"),
    _Form("pypi_token", "pypi-", f"({_URL}{{60,}}+)"),
    _Form("rubygems_token", "rubygems_", "([0-9a-f]{48})"),
    _Form("sendgrid_key", "SG.", rf"({_URL}{{16,32}}\.{_URL}{{32,64}})(?!{_URL})"),
    _Form("sentry_token", "sntrys_ sntryu_", "([A-Za-z0-9+/=_-]{40,}+)"),
    _Form("service_token", "A3-", r"([A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5})"),
    _Form("service_token", "ABSK AKCp EAA ops_eyJ eyJrIjoi", "([A-Za-z0-9+/_-]{60,}+)"),
    _Form("service_token", "API-", f"([A-Z0-9]{{26}})(?!{_WORD})"),
    _Form("service_token", "NRAK- NRII- PMAK- dp.pt. dp.st. pscale_tkn_ pscale_oauth_ pul- pnu_ HRKU-", _ANY),
    _Form("service_token", "CLOJARS_ EZAK EZTK dnkey- dt0c01. duffel_live_ duffel_test_ fo1_ fm1r_ fm2_ ico-", _ANY),
    _Form("service_token", "napi_ sb_secret_ sbp_ sgp_ sha256~ shippo_live_ shippo_test_ tfp_ tk-us- wandb_v1_", _ANY),
    _Form("service_token", "ntn_ lin_api_ figd_ rdme_ rzp_live_ rzp_test_ FLWSECK- secret_", _ANY),
    _Form("shopify_token", "shpat_ shpca_ shppa_ shpss_", "([0-9a-fA-F]{32})"),
    _Form("slack_token", "xapp-", "([A-Za-z0-9-]{40,}+)"),
    _Form("slack_token", "xox", "([abcdeoprs][.-][A-Za-z0-9.%+/-]{20,}+)"),
    _Form("slack_webhook", "hooks.slack.com/", "(?:services|workflows|triggers)/([A-Za-z0-9_/]{24,}+)"),
    _Form("square_token", "sq0atp- sq0csp-", f"({_URL}{{22,}}+)"),
    _Form("stripe_key", "sk_live_ rk_live_ sk_test_ rk_test_ sk_prod_ rk_prod_", f"({_WORD}{{20,}}+)"),
    _Form("stripe_key", "whsec_", "([A-Za-z0-9+/]{32,}+)"),
    _Form("vault_token", "hvs. hvb.", f"({_URL}{{24,}}+)"),
)


def _pattern(opening: str, body: str) -> re.Pattern[str]:
    """A pattern that begins with the opening, at the beginning of a word or behind `\\n`."""
    text = re.escape(opening)
    return re.compile(rf"{text}(?:(?<![A-Za-z0-9]{text})|(?<=\\[nrt]{text})){body}")


_ANCHORED = {
    # behind what makes it certain stands the rest, or in front of it
    "azure_key": ("Q~", re.compile(r"Q~(?<=[A-Za-z0-9_.~-]{3}[0-9]Q~)([A-Za-z0-9_.~-]{31,34})(?![A-Za-z0-9_~-])")),
    "azure_devops_token": ("AZDO", re.compile("AZDO(?<=([A-Za-z0-9]{76})AZDO)[A-Za-z0-9]{4}")),
    "azure_service_key": ("JQQJ9", re.compile("JQQJ9(?<=([A-Za-z0-9]{52})JQQJ9)[A-Za-z0-9]{27}")),
    "mail_key": ("-us", re.compile("-us(?<=([0-9a-f]{32})-us)[0-9]{1,2}(?![A-Za-z0-9])")),
    "teams_webhook": (".webhook.office.com/", re.compile(r"\.webhook\.office\.com/webhookb2/([A-Za-z0-9@/-]{60,}+)")),
    "telegram_token": (":AA", re.compile(f":AA(?<=[0-9]{{8}}:AA)({_URL}{{32,33}})(?!{_URL})")),
}
_TWILIO = tuple(_pattern(opening, f"([0-9a-fA-F]{{32}})(?!{_WORD})") for opening in ("SK", "AC"))
"""Two letters stand in too many texts to be looked for with the openings."""
_BEGIN = "-----BEGIN"
_SEPARATOR = r"\\[nr]|[\s\"'+\\,()#*|>brfu]"
_PEM = re.compile(
    rf"-----BEGIN (?:(?!PRIVATE )[A-Z0-9]+ ){{0,4}}+PRIVATE KEY(?: BLOCK)?-----"
    rf"(?:{_SEPARATOR}|[A-Z][A-Za-z-]{{2,30}}+: [^\n\\\"']{{0,200}}+)*+"
    rf"([A-Za-z0-9+/=]{{24,}}+)(?!(?:{_SEPARATOR}){{0,8}}\.)"
)
"""A key in PEM, perhaps with headers, and with what joins its lines in code. A key that goes on
with dots is a sample.
"""
_DISCORD = re.compile(rf"[MNO](?:(?<![A-Za-z0-9_.-].)|(?<=\\[nrt].))({_URL}{{22,27}}+)(\.{_URL}{{6}}\.{_URL}{{27,}}+)?")
"""The first part is the number of the bot in base64."""
_KINDS = {opening: form.kind for form in _FORMS for opening in form.openings.split()}
_PATTERNS = {opening: _pattern(opening, form.body) for form in _FORMS for opening in form.openings.split()}
_OPENINGS = (*_PATTERNS, *(opening for opening, _ in _ANCHORED.values()), _BEGIN)
_LONGEST = max(map(len, _OPENINGS))
_SLICE = 100_000
"""Characters that are searched for openings at once."""


def kinds(text: str) -> set[str]:
    """The kinds of keys of known form in a text."""
    there = _openings(text)
    found = {_KINDS[o] for o in there & _KINDS.keys() if any(map(_is_key, _PATTERNS[o].finditer(text)))}
    found |= {kind for kind, (o, form) in _ANCHORED.items() if o in there and any(map(_is_key, form.finditer(text)))}
    if _BEGIN in there and any(map(_is_private_key, _PEM.finditer(text))):
        found.add("private_key")
    if any(_is_key(hit) for form in _TWILIO for hit in form.finditer(text)):
        found.add("twilio_key")
    if any(map(_is_bot, _DISCORD.finditer(text))):
        found.add("discord_token")
    return found


def _openings(text: str) -> set[str]:
    """The openings that a text has, wherever they stand.

    What was found in one slice is not looked for in the next, so that no list of hits grows large.
    """
    found: set[str] = set()
    left = _OPENINGS
    for start in range(0, len(text), _SLICE):
        part = text[start : start + _SLICE + _LONGEST].encode("utf-8", "replace").decode()
        if hits := {left[hit[0]] for hit in _automaton(left).find_matches_as_indexes(part, overlapping=True)}:
            found |= hits
            left = tuple(opening for opening in left if opening not in hits)
    return found


@lru_cache(maxsize=16)
def _automaton(openings: tuple[str, ...]) -> ahocorasick_rs.AhoCorasick:
    return ahocorasick_rs.AhoCorasick(openings)


def _is_key(hit: re.Match[str]) -> bool:
    """Whether the random part is random.

    Short ones are only of forms that nothing else has, so that their entropy is enough.
    """
    value = hit[1]
    if not value:
        return False
    return is_drawn(value) if len(value) >= 20 else entropy(value) > 2.5 and not is_made_up(value)


def _is_private_key(hit: re.Match[str]) -> bool:
    """Whether behind a PEM header there is base64, and not words about the key."""
    return entropy(hit[1]) > 3 and not hit[1].isalpha() and not is_made_up(hit[1])


def _is_bot(hit: re.Match[str]) -> bool:
    """Whether a text of three parts names a bot of Discord first: a number of 17 to 20 digits."""
    if not hit[2]:
        return False
    name = hit[0].partition(".")[0]
    try:
        number = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
    except binascii.Error:
        return False
    return number.isdigit() and 17 <= len(number) <= 20 and not is_made_up(hit[2])
