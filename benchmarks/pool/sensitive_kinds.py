"""Made-up credentials of each kind, in lines of Python as people write them.

In: a random generator. Out: for each kind, a text with one credential in it. Each is drawn by the
rules of its format: its alphabet, its lengths, its fixed parts, and where there is one its inner
structure (a JSON web token has a header, a token of PyPI is a macaroon). None of them was ever
valid.

    make = KINDS["github: fine-grained"]
    make(random.Random(0))    # 'TOKEN = "github_pat_…"'
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable

LETTERS = string.ascii_letters
WORD = LETTERS + string.digits
URL = WORD + "-_"
BASE64 = WORD + "+/"
BASE32 = string.ascii_uppercase + "234567"
HEX = "0123456789abcdef"
LOWER = string.ascii_lowercase + string.digits
PASSWORD = WORD + "!#%&*+-.=?@^_~"
Draw = Callable[[random.Random], str]

PLAIN = (
    'client = Client("{s}")',
    "TOKEN = '{s}'",
    'self._token = "{s}"',
    'os.environ["API_KEY"] = "{s}"',
    'key = os.environ.get("API_KEY", "{s}")',
    'settings = {{"host": "api.corp.net", "api_key": "{s}", "retries": 3}}',
    'response = session.get(url, headers={{"X-Api-Key": "{s}"}})',
    "# rotated in May, the old one was {s}",
    'run(["deploy", "--token", "{s}"], check=True)',
    "API_KEY = b'{s}'",
    "token: str = r'{s}'",
    'API_KEY = (\n        "{s}"\n    )',
    'config = """\n    [remote]\n    token = {s}\n    """',
    'return connect(region="eu-west-1", credentials="{s}")',
    '"""Log in.\n\n    >>> login("{s}").ok\n    True\n    """',
    'url = f"https://api.corp.net/v1/items?api_key={s}&page={{page}}"',
    "if not token:\n        token = '{s}'",
    'payload = "{{\\"token\\": \\"{s}\\", \\"user\\": 7}}"',
)
"""Lines for keys that are known by their form. Some have no telling name."""
NAMED = (
    'TOKEN = "{s}"',
    "API_KEY = '{s}'",
    'os.environ["API_KEY"] = "{s}"',
    'os.environ.get("API_KEY", "{s}")',
    'api_key = os.getenv("SERVICE_API_KEY", "{s}")',
    'self.secret_key = "{s}"',
    'token: str = "{s}"',
    'auth_token = b"{s}"',
    "client_secret = r'{s}'",
    'API_TOKEN = (\n        "{s}"\n    )',
    'SECRET = """{s}"""',
    'settings = {{"user": "svc", "access_token": "{s}"}}',
    'connect(host, api_key="{s}", timeout=30)',
    'if token != "{s}":\n        raise PermissionError',
    'env = """\n    API_TOKEN={s}\n    DEBUG=1\n    """',
    "headers = {{'X-Api-Key': '{s}'}}",
    'api_key = api_key or "{s}"',
    'parser.add_argument("--token", default="{s}")',
)
"""Lines for values without a form of their own: a name gives them away."""
PASSWORDS = (
    'password = "{s}"',
    "DB_PASSWORD = '{s}'",
    'connect(host, user="svc", password="{s}")',
    'os.environ["PGPASSWORD"] = "{s}"',
    'settings = {{"user": "svc", "passwd": "{s}"}}',
    'session.auth = ("svc", "{s}")',
    'smtp.login("svc", "{s}")',
    'self.password: str = "{s}"',
    'password = os.environ.get("DB_PASSWORD", "{s}")',
)


def of(alphabet: str, least: int, most: int | None = None) -> Draw:
    """Draws a text of some length from an alphabet."""
    return lambda r: "".join(r.choice(alphabet) for _ in range(r.randint(least, most or least)))


def parts(*pieces: str | Draw) -> Draw:
    """Draws each piece and joins them."""
    return lambda r: "".join(p if isinstance(p, str) else p(r) for p in pieces)


def one_of(*draws: str | Draw) -> Draw:
    """Draws by one of several ways."""
    return lambda r: d if isinstance(d := r.choice(draws), str) else d(r)


def encoded(data: bytes) -> str:
    """Base64 for addresses, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def aws_secret(r: random.Random) -> str:
    return base64.b64encode(r.randbytes(30)).decode()


def password(r: random.Random) -> str:
    """A password as a generator makes it: with a letter and a digit or sign."""
    while True:
        text = of(PASSWORD, 12, 20)(r)
        if any(c.isalpha() for c in text) and not text.isalpha():
            return text


def web_token(r: random.Random) -> str:
    """A JSON web token: header, claims, and an HMAC."""
    header = {"alg": r.choice(["HS256", "HS384", "RS256", "ES256"]), "typ": "JWT"}
    if r.random() < 0.5:
        header["kid"] = of(URL, 12, 24)(r)
    names = ["anna.barth", "example-user", "test-service", "foo", "bar", "carol", "token-bot", "svc-42"]
    claims = {
        "sub": r.choice([str(r.randint(1, 10**9)), str(uuid.UUID(bytes=r.randbytes(16))), r.choice(names)]),
        "iat": r.randint(1_500_000_000, 1_790_000_000),
    }
    if r.random() < 0.5:
        claims["iss"] = r.choice(["https://login.corp.net/", "accounts.corp.net", "https://your.auth.example.org"])
    if r.random() < 0.5:
        claims["scope"] = r.choice(["read write", "openid profile email", "secret:read"])
    size = {"HS256": 32, "HS384": 48, "RS256": 256, "ES256": 64}[header["alg"]]
    head, body = (encoded(json.dumps(x, separators=(",", ":")).encode()) for x in (header, claims))
    return f"{head}.{body}.{encoded(r.randbytes(size))}"


def pypi(r: random.Random) -> str:
    """A macaroon as PyPI issues it: place, identifier, a caveat and a signature."""
    name = str(uuid.UUID(bytes=r.randbytes(16))).encode()
    caveat = json.dumps({"version": 1, "permissions": "user"}).encode()
    packed = b"\2\1\x08pypi.org\2" + bytes([len(name)]) + name + b"\0\2" + bytes([len(caveat)]) + caveat + b"\0\0\6\x20"
    return "pypi-" + encoded(packed + r.randbytes(32))


def discord_bot(r: random.Random) -> str:
    number = encoded(str(r.randint(10**16, 10**19)).encode())
    return f"{number}.{of(URL, 6)(r)}.{of(URL, r.choice([27, 38]))(r)}"


def pem(r: random.Random) -> str:
    """A private key in PEM: its kind, perhaps the headers of an encrypted one, and its lines."""
    kind, size = r.choice([("RSA ", 1192), ("", 1218), ("EC ", 121), ("OPENSSH ", 400), ("DSA ", 450), ("", 48)])
    start = b"openssh-key-v1\0\0\0\0\4none" if kind == "OPENSSH " else b"\x30\x82" + size.to_bytes(2, "big") + b"\2\1\0"
    text = base64.b64encode(start + r.randbytes(size)).decode()
    lines = [text[n : n + 64] for n in range(0, len(text), 64)]
    if kind in ("RSA ", "EC ", "DSA ") and r.random() < 0.5:
        iv = of("0123456789ABCDEF", 32)(r)
        lines = ["Proc-Type: 4,ENCRYPTED", f"DEK-Info: AES-128-CBC,{iv}", "", *lines]
    lines = [f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"]
    joined = {
        "escaped": 'KEY = "' + "\\n".join(lines) + '"',
        "triple": 'KEY = """' + "\n".join(lines) + '"""',
        "indented": "key = '''\n" + "\n".join("        " + line for line in lines) + "\n    '''",
        "pieces": "KEY = (\n" + "\n".join(f'        "{line}\\n"' for line in lines) + "\n    )",
        "bytes": "KEY = (\n" + "\n".join(f"        b'{line}\\n'" for line in lines) + "\n    )",
        "added": "key = " + " + \\\n        ".join(f'"{line}\\n"' for line in lines),
        "json": '{"private_key": "' + "\\\\n".join(lines) + '"}',
    }
    return joined[r.choice(sorted(joined))]


def within(lines: tuple[str, ...], draw: Draw) -> Draw:
    """Draws a value and a line to put it in."""
    return lambda r: r.choice(lines).format(s=draw(r))


def basic(r: random.Random) -> str:
    return base64.b64encode(f"{r.choice(['svc', 'admin', 'api', 'deploy'])}:{password(r)}".encode()).decode()


def address(scheme: str, user: str) -> Draw:
    """Draws an address with a password; signs that an address cannot have are escaped."""

    def draw(r: random.Random) -> str:
        secret = of(WORD, 10, 24)(r) if r.random() < 0.7 else of(WORD, 6, 12)(r) + "%40" + of(WORD, 4, 8)(r)
        host = r.choice(["cache.corp.net:6379/0", "10.0.0.5/app", "db:5432/main", "localhost/0"])
        return f"{scheme}{user}:{secret}@{host}"

    return draw


URLS = ('url = "{s}"', "engine = create_engine('{s}')", 'os.environ["DATABASE_URL"] = "{s}"', "# see {s}")
BEARER = (
    'headers = {{"Authorization": "Bearer {s}"}}',
    "session.headers['Authorization'] = 'Bearer {s}'",
    "req.add_header('Authorization', 'Bearer ' + '{s}')",
    'run(["curl", "-H", "Authorization: Bearer {s}", url])',
    'headers = {{b"authorization": b"bearer {s}"}}',
)
BASIC = tuple(line.replace("earer", "asic").replace("Basic", "Basic") for line in BEARER)
OPAQUE = one_of(of(WORD, 20, 64), of(URL, 24, 64), of(HEX, 32), of(HEX, 40), of(HEX, 64), of(BASE64, 32, 48))
SECRET_NAMES = tuple(
    line.replace("TOKEN", "AWS_SECRET_ACCESS_KEY").replace("API_KEY", "AWS_SECRET_ACCESS_KEY") for line in NAMED
)

KINDS: dict[str, Draw] = {
    "anthropic": within(PLAIN, parts("sk-ant-api03-", of(URL, 93), "AA")),
    "aws: access key": within(PLAIN, parts(one_of("AKIA", "ASIA"), of(BASE32, 16))),
    "aws: secret key": within(SECRET_NAMES, aws_secret),
    "azure: client secret": within(PLAIN, parts(of(WORD + "_-~.", 3), of("78", 1), "Q~", of(WORD + "_-~.", 34))),
    "azure: connection string": within(
        ('conn = "DefaultEndpointsProtocol=https;AccountName=corp;AccountKey={s};EndpointSuffix=core.windows.net"',),
        lambda r: base64.b64encode(r.randbytes(64)).decode(),
    ),
    "azure: SAS": within(
        ('url = "https://corp.blob.core.windows.net/x?sv=2024-05-04&se=2026-01-01&sr=b&sp=r&sig={s}"',),
        lambda r: (
            base64.b64encode(r.randbytes(32)).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        ),
    ),
    "azure: service bus": within(
        ('conn = "Endpoint=sb://corp.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={s}"',),
        lambda r: base64.b64encode(r.randbytes(32)).decode(),
    ),
    "basic header": within(BASIC, basic),
    "bearer header": within(BEARER, OPAQUE),
    "databricks": within(PLAIN, parts("dapi", of(HEX, 32))),
    "digitalocean": within(PLAIN, parts("dop_v1_", of(HEX, 64))),
    "discord: bot": within(PLAIN, discord_bot),
    "discord: webhook": within(
        URLS, parts("https://discord.com/api/webhooks/", of("123456789", 1), of(string.digits, 17), "/", of(URL, 68))
    ),
    "github: classic": within(PLAIN, parts(one_of("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), of(WORD, 36))),
    "github: fine-grained": within(PLAIN, parts("github_pat_", of(WORD, 22), "_", of(WORD, 59))),
    "gitlab": within(PLAIN, parts("glpat-", of(URL, 20))),
    "google: access token": within(PLAIN, parts("ya29.", of(URL, 60, 200))),
    "google: api key": within(PLAIN, parts("AIza", of(URL, 35))),
    "google: client secret": within(PLAIN, parts("GOCSPX-", of(URL, 28))),
    "groq": within(PLAIN, parts("gsk_", of(WORD, 52))),
    "hugging face": within(PLAIN, parts("hf_", of(LETTERS, 34))),
    "json web token": within(PLAIN, web_token),
    "mailgun": within(PLAIN, parts("key-", of(HEX, 32))),
    "name: base62": within(NAMED, of(WORD, 20, 48)),
    "name: hex": within(NAMED, one_of(of(HEX, 32), of(HEX, 40), of(HEX, 64))),
    "name: base64": within(NAMED, one_of(of(URL, 22, 64), lambda r: base64.b64encode(r.randbytes(32)).decode())),
    "name: uuid": within(NAMED, lambda r: str(uuid.UUID(bytes=r.randbytes(16), version=4))),
    "npm": within(PLAIN, parts("npm_", of(WORD, 36))),
    "openai": within(PLAIN, parts("sk-", of(WORD, 20), "T3BlbkFJ", of(WORD, 20))),
    "openai: project": within(PLAIN, parts("sk-proj-", of(URL, 74), "T3BlbkFJ", of(URL, 74))),
    "password": within(PASSWORDS, password),
    "password in an address": within(URLS, address("postgresql://", "svc")),
    "password in an address, no user": within(URLS, address("redis://", "")),
    "private key": pem,
    "pypi": within(PLAIN, pypi),
    "sendgrid": within(PLAIN, parts("SG.", of(URL, 22), ".", of(URL, 43))),
    "shopify": within(PLAIN, parts("shpat_", of(HEX, 32))),
    "slack: app": within(PLAIN, parts("xapp-1-A", of(BASE32, 10), "-", of(string.digits, 13), "-", of(HEX, 64))),
    "slack: bot": within(PLAIN, parts("xoxb-", of(string.digits, 12), "-", of(string.digits, 13), "-", of(WORD, 24))),
    "slack: user": within(
        PLAIN,
        parts("xoxp-", of(string.digits, 12), "-", of(string.digits, 12), "-", of(string.digits, 13), "-", of(HEX, 32)),
    ),
    "slack: webhook": within(
        URLS, parts("https://hooks.slack.com/services/T", of(BASE32, 10), "/B", of(BASE32, 10), "/", of(WORD, 24))
    ),
    "stripe": within(PLAIN, parts(one_of("sk_live_", "rk_live_", "sk_test_"), one_of(of(WORD, 24), of(WORD, 99)))),
    "telegram": within(PLAIN, parts(of("123456789", 1), of(string.digits, 9), ":AA", of(URL, 33))),
    "twilio: api key": within(PLAIN, parts("SK", of(HEX, 32))),
    "twilio: auth token": within(NAMED, of(HEX, 32)),
    "xai": within(PLAIN, parts("xai-", of(WORD, 80))),
}
