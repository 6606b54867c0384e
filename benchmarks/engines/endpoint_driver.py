"""How close the endpoint engine comes to the endpoint's own speed, beside other clients.

    # ours alone
    .venv/bin/python benchmarks/engines/endpoint_driver.py
    # with peers: openai, curator, distilabel
    .venv/bin/python benchmarks/engines/endpoint_driver.py --peer openai=PYTHON

PYTHON is the interpreter of an environment that holds the peer (the packages are openai,
bespokelabs-curator, and 'distilabel[openai]' with requests):

    python -m venv /tmp/openai && /tmp/openai/bin/pip install openai

A server in its own process answers every request after a fixed latency. Each client runs in its own
process, one after the other, with the same number of calls in flight.

    share    the ideal time (requests / in flight * latency) over the time it took
    cpu      processor time per request
    peak     largest resident memory

Ours goes through `builders.engines.answers.Answers`, with journal and prices. The openai SDK is a
plain asyncio loop that keeps nothing. Clients that are far from the ideal get fewer requests
(`--peer-requests`). So compare rates, not times.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
ANSWER = "A problem and its solution. " * 40

MEASURED = """
import json, os, resource, sys, time
url, number, in_flight = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def cpu_s():
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
def report(answered, began, cpu):
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print("MEASURED", json.dumps({"answered": answered, "wall_s": time.perf_counter() - began, "cpu_s": cpu_s() - cpu, "peak_mb": peak / 1024}))
"""

CLIENTS = {
    "scoder": """
import tempfile
from pathlib import Path
from builders.engines import OpenAISettings, Request, open_engine
from builders.engines.answers import open_answers
SHARD = 500
settings = OpenAISettings(base_url=url, max_in_flight=in_flight, price_per_million_input=1, price_per_million_output=4)
def requests_of(shard):
    return [Request(f"q{n}", messages=({"role": "user", "content": f"question {n}"},), seed=n)
            for n in range(shard * SHARD, min(number, (shard + 1) * SHARD))]
shards = range(-(-number // SHARD))
with tempfile.TemporaryDirectory() as folder, open_engine(settings, "m") as engine:
    began, cpu, answered = time.perf_counter(), cpu_s(), 0
    with open_answers(Path(folder), shards, settings, engine.generate, requests_of) as answers:
        for shard in shards:
            ids = [f"q{n}" for n in range(shard * SHARD, min(number, (shard + 1) * SHARD))]
            answered += sum(c.finish_reason == "stop" for c in answers.of(shard, ids))
    report(answered, began, cpu)
""",
    "openai": """
import asyncio
from openai import AsyncOpenAI
async def main():
    client, places, answered = AsyncOpenAI(base_url=url, api_key="none"), asyncio.Semaphore(in_flight), 0
    async def ask(n):
        nonlocal answered
        async with places:
            said = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"question {n}"}], seed=n, max_tokens=512)
            answered += said.choices[0].finish_reason == "stop"
    began, cpu = time.perf_counter(), cpu_s()
    await asyncio.gather(*map(ask, range(number)))
    report(answered, began, cpu)
asyncio.run(main())
""",
    "curator": """
import tempfile
os.environ |= {"OPENAI_API_KEY": "none", "TELEMETRY_ENABLED": "0", "CURATOR_VIEWER": "0", "HF_HUB_OFFLINE": "1", "CURATOR_CACHE_DIR": tempfile.mkdtemp()}
import tiktoken
class Words:  # its real encoder is downloaded; splitting words is cheaper, so this is in curator's favour
    def encode(self, text, **options):
        return text.split()
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Words()
from bespokelabs import curator
pace = {"base_url": url, "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10, "max_concurrent_requests": in_flight}
llm = curator.LLM(model_name="gpt-4o-mini", backend="openai", backend_params=pace)
began, cpu = time.perf_counter(), cpu_s()
found = llm([f"question {n}" for n in range(number)])
report(len(getattr(found, "dataset", found)), began, cpu)
""",
    "distilabel": """
os.environ |= {"HF_HUB_OFFLINE": "1"}
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
if __name__ == "__main__":
    with Pipeline() as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"question {n}"} for n in range(number)], batch_size=in_flight)
        load >> TextGeneration(llm=OpenAILLM(model="m", base_url=url, api_key="none"), input_batch_size=in_flight)
    began, cpu = time.perf_counter(), cpu_s()
    found = pipeline.run(use_cache=False)
    report(sum(text is not None for text in found["default"]["train"]["generation"]), began, cpu)
""",
}


class Answering(asyncio.Protocol):
    """Only as much of HTTP as the clients need, so that the server is not what is measured."""

    latency_s = 0.2
    body = json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ANSWER},
                    "finish_reason": "stop",
                    "logprobs": None,
                }
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 240, "total_tokens": 252},
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.received) < end + 4 + length:
                return
            self.received = self.received[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.latency_s, self.send)

    def send(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.answer)  # type: ignore[attr-defined]


async def serve(latency_s: float) -> None:
    """Print the port, then answer without end."""
    Answering.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure(name: str, python: str, url: str, number: int, in_flight: int) -> dict[str, float] | str:
    """What a client reported, or why it failed."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "client.py")
        script.write_text(MEASURED + CLIENTS[name])
        environment = os.environ | {"PYTHONPATH": str(ROOT) if name == "scoder" else "", "OMP_NUM_THREADS": "1"}
        command = [python, str(script), url, str(number), str(in_flight)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
    if not lines:
        return (done.stderr.strip().splitlines() or ["it printed nothing"])[-1][:200]
    return json.loads(lines[-1].removeprefix("MEASURED "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--peer-requests", type=int, default=5_000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency-s", type=float, default=0.2)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=", ".join(list(CLIENTS)[1:]))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.latency_s))
        return
    peers = dict(peer.split("=", 1) for peer in options.peer)
    command = [sys.executable, __file__, "--serve", "--latency-s", str(options.latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        time.sleep(0.2)
        print(
            f"{'client':<11}{'requests':>9}{'answered':>9}{'wall s':>9}{'per s':>9}{'share':>8}{'cpu ms':>8}{'peak MB':>9}{'ours':>8}"
        )
        ours = 0.0
        for name in CLIENTS:
            if name != "scoder" and name not in peers:
                print(f"{name:<11} skipped: give --peer {name}=PYTHON, see --help")
                continue
            number = options.requests if name == "scoder" else min(options.requests, options.peer_requests)
            found = measure(name, peers.get(name, sys.executable), url, number, options.in_flight)
            if isinstance(found, str):
                print(f"{name:<11} failed: {found}")
                continue
            rate = found["answered"] / found["wall_s"]
            ours = ours or rate
            ideal_s = math.ceil(number / options.in_flight) * options.latency_s
            print(
                f"{name:<11}{number:>9,}{int(found['answered']):>9,}{found['wall_s']:>9.2f}{rate:>9.0f}"
                f"{ideal_s / found['wall_s']:>8.1%}{1000 * found['cpu_s'] / number:>8.2f}{found['peak_mb']:>9.0f}{ours / rate:>7.1f}x"
            )
        server.terminate()


if __name__ == "__main__":
    main()
