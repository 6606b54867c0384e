"""The first code in a box. It takes the other modules from the host, and serves.

In: the descriptor of a socket as the argument. The first message on it carries a file with
{"modules": {name: text}, "filter": hexadecimal, "warm": [names], "site": [folders]} as JSON. The
host sends this text to `python -c`; nothing imports it.
"""

import importlib
import json
import os
import socket
import sys
import types


def main() -> None:
    """Make the modules, import what programs often need, and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _, (fd,), _, _ = socket.recv_fds(control, 16, 1)
    with open(fd, "rb") as file:
        setup = json.loads(file.read())
    for folder in setup["site"]:  # only then Python was started without its module `site`
        import site

        site.setquit()
        site.setcopyright()
        site.sethelper()
        site.addsitedir(folder)
    for name in setup["warm"]:
        importlib.import_module(name)
    for name, text in setup["modules"].items():
        load(name, text)
    zygote = sys.modules["builders.sandbox.inside.zygote"]
    # The programs may have modules of these names.
    for name in [name for name in sys.modules if name.partition(".")[0] == "builders"]:
        del sys.modules[name]
    zygote.serve(control, bytes.fromhex(setup["filter"]))


def load(name: str, text: str) -> None:
    """Make one module, and an empty package where the text is empty."""
    made = types.ModuleType(name)
    made.__dict__["__path__"] = []
    sys.modules[name] = made
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, made)
    exec(compile(text, f"<{name}>", "exec", dont_inherit=True), made.__dict__)


main()
os._exit(0)
