"""`executor`: where the shards of a table are built. The rows are the same everywhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from builders.recipe.settings import Settings

_SLURM_VALUE = r"^[A-Za-z0-9_.,:@+-]+$"
"""Text that can stand in a line of a batch script."""

_EXECUTOR_KINDS = {
    "cpus_per_task": ("ray", "slurm"),
    "mem_per_cpu_gb": ("ray", "slurm"),
    "address": ("ray",),
    "retries": ("ray",),
    **dict.fromkeys(("partition", "time", "qos", "account", "sbatch", "activate"), ("slurm",)),
    **dict.fromkeys(("shards_per_task", "max_array_size", "poll_s"), ("slurm",)),
}


class Executor(Settings):
    """Where shards are built: in processes here, or as tasks of a Ray or Slurm cluster.

    The rows are the same wherever they are built.
    """

    kind: Literal["local", "ray", "slurm"] = Field(
        "local", description="local: processes on this machine; ray or slurm: tasks of that cluster"
    )
    workers: int | Literal["auto"] = Field(
        "auto",
        description="tasks at a time; auto: one per CPU here, as many as fit on the Ray cluster, no limit on Slurm",
    )
    cpus_per_task: int = Field(1, ge=1, description="ray and slurm: CPUs of one task")
    mem_per_cpu_gb: int = Field(2, ge=1, description="ray and slurm: GiB of memory for each CPU of a task")
    address: str = Field("auto", description="ray: HOST:PORT of the cluster; auto: the one that runs on this machine")
    retries: int = Field(3, ge=0, description="ray: further attempts for a shard whose worker or node was lost")
    partition: str | None = Field(
        None, pattern=_SLURM_VALUE, description="slurm: partition of the job; slurm needs one"
    )
    time: str | None = Field(
        None,
        pattern=r"^[0-9]+([:-][0-9]+)*$",
        description='slurm: time limit of a task, as "HH:MM:SS" in quotes; slurm needs one',
    )
    qos: str | None = Field(None, pattern=_SLURM_VALUE, description="slurm: quality of service; null: the default one")
    account: str | None = Field(
        None, pattern=_SLURM_VALUE, description="slurm: account of the job; null: the default one"
    )
    sbatch: dict[Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")], Annotated[str, Field(pattern=_SLURM_VALUE)]] = Field(
        default_factory=dict,
        description="slurm: further options of sbatch, such as {constraint: skylake}; empty: none",
    )
    activate: str | None = Field(
        None,
        description="slurm: shell command that prepares a task; null: activate this virtual environment",
    )
    shards_per_task: int = Field(
        1, ge=1, description="slurm: shards of one task; raised where the array would be too long"
    )
    max_array_size: int = Field(1001, ge=1, description="slurm: longest job array of the cluster (its MaxArraySize)")
    poll_s: float = Field(5.0, gt=0, description="slurm: seconds between two looks at the queue")

    @field_validator("time", mode="before")
    @classmethod
    def _time_is_text(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise ValueError('YAML reads 10:00:00 as a number; write it in quotes: "10:00:00"')
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Executor:
        for name, kinds in _EXECUTOR_KINDS.items():
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.kind not in kinds and getattr(self, name) != default:
                raise ValueError(
                    f"executor.{name} is only for {' and '.join(kinds)}, but executor.kind is {self.kind!r}: leave it out"
                )
        if self.kind == "slurm" and not (self.partition and self.time):
            raise ValueError('an executor of kind slurm needs `partition` and `time` (in quotes: "02:00:00")')
        if self.workers != "auto" and self.workers < 1:
            raise ValueError(f"executor.workers is at least 1, or auto; got {self.workers}")
        if self.address.startswith("ray://"):
            raise ValueError(
                "executor.address: ray:// addresses are not supported; run on a machine of the cluster and give HOST:PORT"
            )
        return self
