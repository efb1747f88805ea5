"""Files that hand the points of a sweep to SLURM or to Weights & Biases."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from unlearn_pl.results.atomic_file import atomic_file


def write_slurm(output: Path, arguments: Sequence[str], points: int) -> Path:
    """Write a job array, an element per point; what the cluster wants to know is added to its head.

    Args:
        output: folder of the sweep.
        arguments: those of ``unlearn-pl sweep``.
        points: their number.

    Returns:
        The script, for ``sbatch``.
    """
    command = shlex.join(["unlearn-pl", "sweep", *arguments])
    path = output / "sweep.sbatch"
    text = (
        "#!/bin/bash\n"
        "# One run per element of the array; sbatch this file from the folder in which the sweep was called.\n"
        f"#SBATCH --job-name={output.name}\n"
        f"#SBATCH --array=0-{points - 1}\n"
        "#SBATCH --requeue\n"
        f"#SBATCH --output={output}/slurm-%A-%a.txt\n"
        f'srun --ntasks=1 {command} --point "$SLURM_ARRAY_TASK_ID"\n'
    )
    with atomic_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return path


def write_wandb(output: Path, arguments: Sequence[str], points: int) -> Path:
    """Write a sweep for Weights & Biases, whose agents take a point at a time.

    Args:
        output: folder of the sweep.
        arguments: those of ``unlearn-pl sweep``.
        points: their number.

    Returns:
        The file, for ``wandb sweep``.
    """
    path = output / "wandb_sweep.yaml"
    content = {
        "name": output.name,
        "method": "grid",
        "parameters": {"point": {"values": list(range(points))}},
        "command": ["unlearn-pl", "sweep", *arguments, "${args}"],
    }
    with atomic_file(path) as unfinished:
        unfinished.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
