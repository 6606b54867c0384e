"""`executor`: where the shards of a table are built, and where the work of GPUs is done.

The rows are the same everywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from builders.recipe.settings import Settings

_SLURM_VALUE = r"^[A-Za-z0-9_.,:@+-]+$"
"""Text that can stand in a line of a batch script."""

_EXECUTOR_KINDS = {
    "cpus_per_task": ("ray", "slurm"),
    "mem_per_cpu_gb": ("ray", "slurm"),
    "gpu": ("ray", "slurm"),
    "address": ("ray",),
    "retries": ("ray",),
    **dict.fromkeys(("partition", "time", "qos", "account", "sbatch", "activate"), ("slurm",)),
    **dict.fromkeys(("shards_per_task", "max_array_size", "poll_s"), ("slurm",)),
}

_GPU_KINDS = {"partition": "slurm", "time": "slurm", "gres": "slurm", "sbatch": "slurm"}

Options = dict[Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")], Annotated[str, Field(pattern=_SLURM_VALUE)]]


def _time_is_text(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError('YAML reads 10:00:00 as a number; write it in quotes: "10:00:00"')
    return value


Time = Annotated[str, Field(pattern=r"^[0-9]+([:-][0-9]+)*$"), BeforeValidator(_time_is_text)]


class GpuTasks(Settings):
    """Trainings, engines and gradients as tasks with GPUs, one node each.

    The run itself needs no GPU then. Account, qos and `activate` are those of the executor.
    """

    gpus_per_node: int = Field(8, ge=1, description="GPUs of a training, unless its `devices` names another number")
    replicas: int = Field(
        1,
        ge=1,
        description="tasks of an engine, and of gradients, at a time; an engine's own `replicas` goes before it",
    )
    cpus_per_gpu: int = Field(8, ge=1, description="CPUs of a task for each of its GPUs")
    mem_per_gpu_gb: int = Field(64, ge=1, description="GiB of a node's memory for each GPU of a task")
    host: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.:-]+$",
        description="name or address of the machine of the run, as nodes reach it; null: its full name",
    )  # fmt: skip
    partition: str | None = Field(
        None, pattern=_SLURM_VALUE, description="slurm: partition with GPUs; null: executor.partition"
    )
    time: Time | None = Field(None, description="slurm: time limit of a task, in quotes; null: executor.time")
    gres: str | None = Field(
        "gpu", pattern=_SLURM_VALUE, description="slurm: name of GPUs, as in --gres=gpu:8; null: --gpus-per-node=8"
    )
    sbatch: Options = Field(
        default_factory=dict,
        description="slurm: further options of sbatch, beside those of executor.sbatch; empty: none",
    )


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
    time: Time | None = Field(
        None,
        description='slurm: time limit of a task, as "HH:MM:SS" in quotes; slurm needs one',
    )
    qos: str | None = Field(None, pattern=_SLURM_VALUE, description="slurm: quality of service; null: the default one")
    account: str | None = Field(
        None, pattern=_SLURM_VALUE, description="slurm: account of the job; null: the default one"
    )
    sbatch: Options = Field(
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
    gpu: GpuTasks | None = Field(
        None, description="ray and slurm: trainings, engines and gradients as tasks with GPUs; null: on this machine"
    )

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
        self._check_gpu()
        return self

    def _check_gpu(self) -> None:
        for name, kind in _GPU_KINDS.items():
            if self.gpu is not None and name in self.gpu.model_fields_set and self.kind != kind:
                raise ValueError(
                    f"executor.gpu.{name} is only for {kind}, but executor.kind is {self.kind!r}: leave it out"
                )
