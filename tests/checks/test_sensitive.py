"""Credentials and personal data: real forms are found, what documentation makes up is not.

The credentials are put together here, so that no scanner of repositories takes them for a leak.
"""

import base64
import json
import random
import re
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.checks.sensitive import assignments, forms, personal_data, secrets
from builders.checks.sensitive.randomness import entropy, is_drawn, is_made_up, readability

DRAWN = "Zq8vT2mLr9XwKc4NyB7hJd3FgS6pUe1AoVtR"
LONG = DRAWN + "x5Kq0WnE8zYbMj2LsCf9GhT4vRd7PuXa3QiN6oBk1wJm" + "V9tHyZ5cSg8DfLr2KxEe4UpTq7"
HEX = "8f3a61d07be94c25a0d91f6c3e7b48d2" + "5c90e1a7f4b36d82c1e05f9ab7d34860"
DIGITS = "739184620571" + "48260"
BASE32 = "QYLPMN5HG7RTWZ2K" + "B4XJ6VDC"


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


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
    ("start", "rest", "kind"),
    [
        ("A" + "SIA", BASE32[:16], "aws_access_key"),
        ("AGE-SECRET-" + "KEY-1", (BASE32 * 3)[:58], "age_key"),
        ("sk" + "-ant-api03-", LONG[:90] + "AA", "anthropic_key"),
        ("ATA" + "TT3", LONG[:60], "atlassian_token"),
        ("Account" + "Key=", LONG[:86] + "==", "azure_key"),
        ("SharedAccess" + "Key=", LONG[:43] + "=", "azure_key"),
        ("?sv=2024-05-04&si" + "g=", LONG[:20] + "%2B" + LONG[20:42] + "%3D", "azure_key"),
        ("aB~8" + "Q~", LONG[:34], "azure_key"),
        (LONG[:76], "AZ" + "DO" + DRAWN[:4], "azure_devops_token"),
        (LONG[:52] + "JQQ" + "J9", LONG[60:87], "azure_service_key"),
        ("da" + "pi", HEX[:32], "databricks_token"),
        ("dop" + "_v1_", HEX, "digitalocean_token"),
        (in_base64("739184620571482609") + ".", DRAWN[:6] + "." + LONG[:27], "discord_token"),
        ("https://discord.com/api/web" + "hooks/" + DIGITS + "/", LONG[:68], "discord_webhook"),
        ("dckr" + "_pat_", DRAWN[:27], "docker_token"),
        ("github" + "_pat_", LONG[:22] + "_" + LONG[22:81], "github_token"),
        ("gh" + "o_", DRAWN, "github_token"),
        ("gh" + "u_", DRAWN, "github_token"),
        ("gh" + "s_", DRAWN, "github_token"),
        ("gh" + "r_", DRAWN, "github_token"),
        ("gl" + "rt-", DRAWN[:20], "gitlab_token"),
        ("GOC" + "SPX-", DRAWN[:28], "google_oauth"),
        ("ya" + "29.", LONG, "google_oauth"),
        ("1/" + "/0", LONG[:60], "google_oauth"),
        ("gl" + "sa_", DRAWN[:32] + "_8f3a61d0", "grafana_token"),
        ("ke" + "y-", HEX[:32], "mail_key"),
        (HEX[:32], "-us" + "14", "mail_key"),
        ("gs" + "k_", LONG[:52], "model_key"),
        ("xa" + "i-", LONG[:80], "model_key"),
        ("np" + "m_", DRAWN, "npm_token"),
        ("sk" + "-", DRAWN[:20] + "T3Blbk" + "FJ" + DRAWN[:20], "openai_key"),
        ("py" + "pi-", "AgEIcHlwaS5vcmc" + LONG, "pypi_token"),
        ("S" + "G.", LONG[:22] + "." + LONG[22:65], "sendgrid_key"),
        ("NR" + "AK-", (BASE32 + "7Q2M")[:27], "service_token"),
        ("shp" + "at_", HEX[:32], "shopify_token"),
        ("xap" + "p-1-A", BASE32[:10] + "-7391846205714-" + HEX, "slack_token"),
        ("xox" + "p-", "739184620571-482609137456-" + HEX[:32], "slack_token"),
        (
            "https://hooks.sl" + "ack.com/services/",
            "T" + BASE32[:10] + "/B" + BASE32[6:16] + "/" + DRAWN[:24],
            "slack_webhook",
        ),
        ("sq0" + "csp-", LONG[:43], "square_token"),
        ("rk" + "_live_", LONG[:99], "stripe_key"),
        ("whs" + "ec_", LONG[:40], "stripe_key"),
        ("8472" + "910536:A" + "A", DRAWN[:33], "telegram_token"),
        ("S" + "K", HEX[:32], "twilio_key"),
        ("hv" + "s.", LONG, "vault_token"),
    ],
)
def test_each_form_is_found_in_quotes_and_in_a_comment(start, rest, kind):
    assert kind in forms.kinds(f"client = Client('{start}{rest}')")
    assert kind in forms.kinds(f"# rotated: {start}{rest}\n")
    assert kind in forms.kinds(f'text = "first\\n{start}{rest}\\nlast"')
    assert kind not in forms.kinds(f"client = Client('{start}')")


@pytest.mark.parametrize("opening", sorted(forms._PATTERNS))
def test_a_placeholder_of_each_form_is_none(opening):
    for made_up in ("x" * 90, "your_token_here" * 6, "0123456789abcdef" * 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 4):
        assert forms.kinds(f"client = Client('{opening}{made_up}')") == set()


def web_token(r: random.Random) -> str:
    names = ["example", "test", "foo", "your-service", "token", "abcd1234"]
    parts = [
        {"alg": "HS256", "typ": "JWT"},
        {"sub": r.choice(names) + str(r.random()), "iat": r.randint(10**9, 2 * 10**9)},
    ]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts] + [
        base64.urlsafe_b64encode(r.randbytes(32))
    ]
    return ".".join(part.decode().rstrip("=") for part in coded)


def test_a_made_up_word_by_chance_excuses_no_random_token() -> None:
    """Each has a word such as "test" in it, as one in twenty long tokens does by chance."""
    r = random.Random(7)
    for word in ("example", "test", "foo", "BAR", "your", "Secret", "xxxx", "1234", "abcd", "fake"):
        assert secrets("k = 'gh" + "p_" + DRAWN[:16] + word + DRAWN[16:] + "'") == ["github_token"]
        assert secrets("TOKEN = '" + DRAWN[:10] + word + DRAWN[10:30] + "'") == ["assigned_secret"]
    assert all(secrets(f"call('{web_token(r)}')") == ["json_web_token"] for _ in range(200))


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "PGP "])
@pytest.mark.parametrize(
    ("start", "between"),
    [
        ('KEY = "', "\\n"),
        ('KEY = """', "\n"),
        ("key = '''\n    ", "\n    "),
        ("KEY = (\n    b'", "\\n'\n    b'"),
        ('KEY = "', '\\n" + \\\n    "'),
        ('{\\"private_key\\": \\"', "\\\\n"),
        ("# ", "\n# "),
    ],
)
def test_private_keys_are_found_however_their_lines_are_joined(kind, start, between):
    block = " BLOCK" if kind == "PGP " else ""
    head = f"-----BEGIN {kind}PRIVATE " + f"KEY{block}-----"
    lines = ["MII" + LONG[:61], LONG[40:104], DRAWN + "=="]
    assert secrets(start + between.join([head, *lines])) == ["private_key"]
    headers = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC," + HEX[:32].upper(), ""]
    assert secrets(start + between.join([head, *headers, *lines])) == ["private_key"]


@pytest.mark.parametrize(
    "line",
    [
        'TOKEN = "{}"',
        "TOKEN = b'{}'",
        "token: Optional[str] = r'{}'",
        'SECRET = """{}"""',
        "SECRET = '''\n    {}\n'''",
        "API_KEY = (\n    '{}'\n)",
        'API_KEY = \\\n    "{}"',
        'os.environ["API_KEY"] = "{}"',
        'os.environ.get("API_KEY", "{}")',
        "os.getenv('SERVICE_TOKEN', '{}')",
        'os.environ.get("API_KEY") or "{}"',
        'os.environ.setdefault("AUTH_TOKEN", "{}")',
        "api_key = SecretStr('{}')",
        'api_key = os.getenv("SERVICE", "{}")',
        "connect(host, apiKey='{}')",
        "{{'x-api-key': '{}'}}",
        '{{\\"access_token\\": \\"{}\\"}}',
        "TOKENS = {{'prod': '{}'}}",
        "TOKENS = {{'{}': 'alice'}}",
        "TOKEN = (  # of the dashboard\n    '{}'\n)",
        "secret = bytes('{}', 'utf-8')",
        "token = token if token else '{}'",
        "session = with_token('{}')",
        "token, url = '{}', None",
        "secret, token = None, '{}'",
        "url = 'https://x.org/items?access_token=' + '{}'",
        "find('password').send_keys('{}')",
        'config["auth"]["secret"] = "{}"',
        "if token != '{}':",
        "hmac.compare_digest(token, '{}')",
        'add_argument("--token", type=str, default="{}")',
        'Field(name="api_key", default="{}")',
        "url = 'https://x.org/items?api_key={}&page=2'",
        'env = """\nAWS_SECRET_ACCESS_KEY={}\nDEBUG=1\n"""',
        "# the token is {}\n",
        "client_secrets = ['{}', '']",
        "secret='api_key='{}'",
    ],
)
def test_a_named_value_is_found_however_it_is_written(line):
    for value in (DRAWN[:24], HEX[:32], LONG[:20] + "/" + LONG[20:39], "3f2c91ab-5d07-4e8a-9c46-b1d2e07f8a35"):
        assert secrets(line.format(value)) == ["assigned_secret"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("password = 'kV9#mQ2v'", "assigned_secret"),
        ("DB_PASSWORD = 'Summer-of-2031!'", "assigned_secret"),
        ("connect(pwd='" + DRAWN[:10] + "')", "assigned_secret"),
        ("conn = 'Server=db;Uid=svc;Pwd=" + DRAWN[:12] + ";'", "assigned_secret"),
        ("session.auth = ('svc', '" + DRAWN[:10] + "')", "login"),
        ("HTTPBasicAuth('svc', '" + DRAWN[:10] + "')", "login"),
        ("smtp.login(user, '" + DRAWN[:10] + "')", "login"),
        ("h = {'Authorization': 'Bearer " + DRAWN[:24] + "'}", "authorization_header"),
        ("h = {b'authorization': b'bearer " + HEX[:32] + "'}", "authorization_header"),
        ("h['Authorization'] = 'Bearer ' + '" + DRAWN + "'", "authorization_header"),
        ("run(['-H', 'Authorization: Token " + HEX[:40] + "'])", "authorization_header"),
        ("h = {'Authorization': 'Basic " + in_base64("svc:" + DRAWN[:9]) + "'}", "authorization_header"),
        ("url = 'redis://:" + DRAWN[:12] + "@cache:6379/0'", "password_in_address"),
        ("url = 'amqps://svc:" + DRAWN[:8] + "%40" + DRAWN[8:14] + "@mq/'", "password_in_address"),
        ("url = 'https://" + DRAWN[:30] + "@git.corp.net/x.git'", "password_in_address"),
    ],
)
def test_logins_are_found_by_what_stands_around_them(line, kind):
    assert secrets(line) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "key = 'AKIA" + "IOSFODNN7EXAMPLE'",
        "aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY'",
        "password = 'your-password-here-1'",
        "api_key = os.environ['OPENAI_API_KEY']",
        "token = 'xxxxxxxxxxxxxxxx1234'",
        "secret_key = 'aaaaaaaaaaaaaaaa1111'",
        "password = getpass('Password for the account: ')",
        "if line == '-----BEGIN RSA PRIVATE KEY-----':",
        "-----BEGIN PRIVATE KEY-----\\nMIIEpQ" + LONG[:58] + "\\n...",
        "redis://user:${REDIS_PASSWORD}@host",
        "http://user:password@proxy",
        "postgres://scott:tiger@localhost/test mysql://root:p4ssw0rd1@db",
        "sk-learn-contrib-and-other-packages" * 2,
        "digest = 'd41d8cd98f00b204e9800998ecf8427e'",
        "public_key = 'd41d8cd98f00b204e9800998ecf8427e' + token_id('" + DRAWN + "')",
        "primary_key = cache_key = page_token = '" + HEX[:32] + "'",
        "secret_name = token_url = api_key_id = password_hash = '" + HEX[:32] + "'",
        "tokenizer = AutoTokenizer.from_pretrained('meta-llama/Llama-3.2-11B-Vision-Instruct')",
        "monkey = turkey = hockey = '" + DRAWN + "'",
        "api_key = api_key or get_from_env('api_key', 'WHYLABS_API_KEY')",
        "if key in ('eos_token_id_2', 'pad_token_id_3'): token = base64url_decode2(data)",
        "password_pattern = r'^(?=.*[A-Z])(?=.*[0-9]).{8,}$'",
        "password = 'P@ssw0rd123!' or f'{user}-{secret}' or '%(password)s' or '<password-1>'",
        "h = {'Authorization': f'Bearer {token}', 'X': 'Basic ' + credentials_in_base64}",
        "'Authorization: Basic QWxhZGRpbj" + "pvcGVuIHNlc2FtZQ=='",
        "api_key = 'a1b2c3d4e5f6g7h8i9j0'",
        "token = '123e4567-e89b-12d3-a456-426614174000'",
        "encrypt(data, self.passphrase, 'PBKDF2WithHMAC-SHA256AndAES256-CBC')",
        "jwt_token = options['backupJwtToken'] or token_address('0x8d0D000Ee44948FC98c9B98A4FA4921476f08B0d')",
        "token = '0x8d0D000Ee44948FC98c9B98A4FA4921476f08B0d'",
        "hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
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
        ("call +44 20 79460 958 or", ["phone"]),
        ("call +49 (0)421 218-60000 or +1 (415) 867-9301", ["phone"]),
        ("call +1 (415) 867-9301", ["phone"]),
        ("call (415) 867-9301 or", ["phone"]),
        ("call 415-867-9301", ["phone"]),
        ("to='+491715298664', text=text", ["phone"]),
        ("HOST = '91.198.174.192'", ["ip_address"]),
        ("HOST = '2a00:1450:4001:81d::200e'", ["ip_address"]),
        ("bind('[2003:e1:bf22:9a00:21c:42ff:3e8a:17b4]:80')", ["ip_address"]),
        ("m@uni-bremen.de mary@uni-bremen.de 91.198.174.192", ["email", "ip_address"]),
        ("caesar@uni-bremen.de", ["email"]),
        ("maja@kowalska.me, li@chen.co", ["email"]),
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
        "y = weights@self.net + left@frame.at[0]",
        "@decorator.io\ndef f(): pass",
        "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,hostkeys-prove-00@openssh.com",
        "curve25519-sha256@libssh.org rijndael-cbc@lysator.liu.se hmac-ripemd160-etm@corp.net keepalive@lag.net",
        "one@one.org, email@email.au",
        "127.0.0.1 192.168.1.20 10.0.0.8 8.8.8.8 255.255.255.0 192.0.2.44 999.1.1.1",
        "version 5.10.102.1 and 1.2.3.4 and 21.1.0.0",
        "2001:db8::ff00:42:8329 ::1 fe80::1 2001:4860:4860::8888 2001:658:22a:cafe:200::1 fd31:f903:5ab5:1::1",
        "a[2000:3000:2], a[2001::2], 2024:11:22 10:30:00, 00:1a:2b:3c:4d:5e, 2a:00:14:50:40:01:08:1d",
        "555-867-5309 +1 555 867 5309 123-456-7890 222-222-2222 +1 234 567 8900 (911) 411-9301",
        "x = 2024-11-22 + 100-200-3000",
        "a[1.5:-3.25, 10 - 20 - 30]",
        "x = 1 +2050488462815550, [+1.22464680, +38  9.007199, +17-6.039064, +99 123 456 7890]",
        "",
    ],
)
def test_what_documentation_makes_up_is_nobodys(text):
    assert personal_data(text) == []


def test_entropy_is_in_bits_per_character():
    assert entropy("") == 0 and entropy("aaaa") == 0
    assert entropy("ab") == 1 and entropy("abcd") == 2


def test_words_are_readable_and_drawn_values_are_not():
    assert readability("encoder") == 1 and readability("2024") == 1
    assert readability("distilbert_base_uncased") > 0.8 > 0.4 > readability(DRAWN)
    assert is_drawn(DRAWN) and is_drawn(HEX) and not is_drawn("meta-llama/Llama-2-7b-hf") and not is_drawn("A" * 40)
    made_up = ["changeme", "your-api-key-123", "abc7abc7abc7abc7abc7", "1234567890", "s3cr3t-t0k3n", "{token}", "..."]
    assert [value for value in [*made_up, DRAWN, "example" + DRAWN] if not is_made_up(value)] == [
        DRAWN,
        "example" + DRAWN,
    ]


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "a://",
        "a:",
        "secret",
        "key='",
        "a@",
        "1.1.",
        "+11 11 ",
        "eyJ",
        "password: ",
        "x@ab.",
        "token+",
        "2001:",
        "key,",
    ],
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
    "ab.",
    "aa.com.",
    "+1 22 22 ",
    "+1234567890 ",
    "a1B2c3D4'secret='",
    "password=aaaaaaa1 ",
    "token+",
    "SK",
    "SG." + "a" * 21 + ".",
    "M" + "A" * 24 + ".",
    "Bearer ",
    "-----BEGIN PRIVATE " + "KEY----- ",
    "://a:b",
    "2001:",
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
    assert secrets("sk-" * 90000 + " " + key) == ["openai_key"]
    assert secrets("sk-" * 3 + DRAWN) == ["openai_key"]
    assert secrets("eyJeyJeyJeyJ-" * 9000 + ". " + jwt) == ["json_web_token"]
    assert secrets("eyJ." + jwt) == ["json_web_token"]
    assert secrets("gl" + "pat-" * 40000 + " gh" + "p_" + DRAWN) == ["github_token"]
    assert secrets("\ud800 gh" + "p_" + DRAWN) == ["github_token"]
    assert personal_data("aa@" + "aa." * 9000 + " mary@" + "a1." * 12 + "uni-bremen.de") == ["email"]


def test_values_with_a_name_are_judged_up_to_a_number() -> None:
    """A text of more than ten thousand of them is no code. Else one of 5 MB would take a minute."""
    many = "".join(f"token='a{n}' token='value-{n}-of-many' " for n in range(assignments._MOST + 1))
    last = "token='" + DRAWN + "'"
    assert secrets(many[: len(many) // 2] + last) == ["assigned_secret"] and secrets(many + last) == []


@given(st.lists(st.sampled_from(["sk-", "eyJ", ".", "-", "proj-", " ", "a", "Zq8vT2mLr9", DRAWN]), max_size=14))
def test_patterns_in_one_pass_find_what_simple_ones_find(pieces: list[str]) -> None:
    """The simple patterns do not pass over what no token begins in."""
    text = "".join(pieces)
    slow = {
        "sk-": r"(?<![A-Za-z0-9])sk-(?!ant-)([A-Za-z0-9_-]{20,})",
        "eyJ": r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}(\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{20,})",
    }
    for opening, simple in slow.items():
        hits = [m[1] for m in forms._PATTERNS[opening].finditer(text) if m[1]]
        assert hits == [m[1] for m in re.finditer(simple, text)]


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
        r"""(?:key|secret)[\w-]*["']?\s{0,5}(?::\s{0,5}str\s{0,5}(?==))?[:=]\s{0,5}["']([^"'\s]{12,200})["']"""
    )
    expected = {m[1] for at in range(len(text)) if (m := simple.match(text, at))}
    assert expected <= {value for hit in assignments._ASSIGNED.findall(text) for value in hit}


def test_a_secret_is_found_behind_a_word_of_many_names() -> None:
    assert secrets("api_key" * 9000 + "='" + DRAWN[:24] + "'") == ["assigned_secret"]
    assert secrets("api_key" + "a" * 31 + "='" + DRAWN[:24] + "'") == []
