"""How the rows of a step are shared out: by processes, and by forward passes of each process.

In: the settings of a training, and the number of GPUs. Out: a `Layout`. A step has the same rows
whatever the layout. So the same training comes out, up to rounding, on one GPU or on eight.

    layout(SftSettings(batch_size=4, gradient_accumulation=16), 8)
    # Layout(processes=8, rows=4, passes=2): 8 x 4 x 2 rows, as 4 x 16 says

How: the rows stand in their final order. Process r takes the micro-batches r, r + P, r + 2P, … of
them. The last step may be short: rows of one token, on which there is no loss, fill it up to whole
micro-batches of all processes.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from training.errors import TrainingError
from training.settings import SftSettings


class Layout(BaseModel):
    """The shape in which a training runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(description="processes that train together, one per GPU")
    rows: int = Field(description="rows of a forward pass of one process")
    passes: int = Field(description="forward passes of one process in a step")
    is_sharded: bool = Field(default=False, description="whether each process holds a part of the weights (FSDP2)")
    is_recomputed: bool = Field(default=False, description="whether activations were computed twice (checkpointing)")

    @property
    def rows_at_once(self) -> int:
        """Rows that all processes take in one forward pass."""
        return self.processes * self.rows


def num_processes(settings: SftSettings, num_gpus: int) -> int:
    """As many processes as there are GPUs, and no more than share a step evenly.

    TrainingError for `devices` that do not share it evenly.

        num_processes(SftSettings(batch_size=4), 8)    # 4
    """
    per_step = settings.batch_size * settings.gradient_accumulation
    if settings.devices is not None:
        if per_step % settings.devices:
            fitting = ", ".join(str(n) for n in range(1, per_step + 1) if per_step % n == 0)
            raise TrainingError(
                f"devices={settings.devices} cannot share the {per_step} rows of a step evenly (batch_size "
                f"{settings.batch_size} x gradient_accumulation {settings.gradient_accumulation}): set devices to one of "
                f"{fitting}"
            )
        return settings.devices
    return max(n for n in range(1, max(1, num_gpus) + 1) if per_step % n == 0)


def layout(settings: SftSettings, processes: int, has_gpu: bool = False) -> Layout:
    """The layout of a training in so many processes, on GPUs or not.

    A forward pass has `micro_batch` rows at most. TrainingError for an adapter whose base is to be
    sharded.
    """
    own = settings.batch_size * settings.gradient_accumulation // processes
    most = min(settings.micro_batch or settings.batch_size, settings.batch_size, own)
    rows = max(n for n in range(1, most + 1) if own % n == 0)
    return Layout(
        processes=processes,
        rows=rows,
        passes=own // rows,
        is_sharded=_is_sharded(settings, processes, has_gpu),
        is_recomputed=settings.gradient_checkpointing,
    )


def _is_sharded(settings: SftSettings, processes: int, has_gpu: bool) -> bool:
    """Whether the weights are shared out. `auto` does so where all weights train on GPUs."""
    if settings.sharding == "fsdp2" and settings.lora is not None:
        raise TrainingError(
            "sharding is fsdp2, which is for the training of all weights (lora: null): an adapter is trained by ddp. Set "
            "sharding to auto"
        )
    wanted = settings.sharding == "fsdp2" or (settings.sharding == "auto" and settings.lora is None and has_gpu)
    return processes > 1 and wanted


def num_pads(num_rows: int, layout: Layout) -> int:
    """Rows without a loss that are added at the end, for whole micro-batches of all processes.

    A single process needs none: its last forward pass may be shorter.
    """
    return -num_rows % layout.rows_at_once if layout.processes > 1 else 0
