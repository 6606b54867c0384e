"""The worker of a training with a fault: `UNLUCKY="kill 1 4"` kills process 1 after step 4, once.

    none                 nothing happens

slow                 every step takes a second; every time
kill, stop, hang     what happens to the process: SIGKILL, SIGSTOP, or it sleeps for ever
crash                a RuntimeError of the process
host-memory          SIGKILL, which the kernel notes in the file UNLUCKY_VMSTAT, as long as a
                     forward pass has more than one row; every time
memory               out of memory, as long as a forward pass has more than one row, or as long
                     as there is no gradient checkpointing; every time
"""

import gc
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from training import worker


def unlucky(kind: str) -> None:
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "hang":
        time.sleep(3600)
    else:
        raise RuntimeError("this is the crash of a test")


def main(path: str, rank: int) -> int:
    kind, unlucky_rank, unlucky_step = os.environ["UNLUCKY"].split()
    gc.disable()  # the libraries load a sixth sooner
    from tests import cpu_fsdp

    cpu_fsdp.allow()
    from training import sft  # noqa: F401  # all that the worker loads
    from training.state_keeper import StateKeeper

    gc.enable()

    on_step_end = StateKeeper.on_step_end

    def with_fault(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        on_step_end(self, args, state, control, **kwargs)
        if kind == "memory" and (args.per_device_train_batch_size > 1 or not args.gradient_checkpointing):
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB (a test)")
        if kind == "slow":
            time.sleep(1)
        if kind == "host-memory" and args.per_device_train_batch_size > 1:
            Path(os.environ["UNLUCKY_VMSTAT"]).write_text("nr_free_pages 5\noom_kill 4\n")
            unlucky("kill")
        mark = Path(path).parent.with_name("unlucky-was-here")
        is_its_turn = (
            kind in ("kill", "stop", "hang", "crash")
            and rank == int(unlucky_rank)
            and state.global_step == int(unlucky_step)
        )
        if is_its_turn and (not mark.exists() or os.environ.get("UNLUCKY_ALWAYS")):
            mark.touch()
            unlucky(kind)

    StateKeeper.on_step_end = with_fault  # type: ignore[method-assign]
    return worker.main(path, rank)


if __name__ == "__main__":
    code = main(sys.argv[1], int(sys.argv[2]))
    os._exit(code)
