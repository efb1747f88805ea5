#!/usr/bin/env bash
# Runs `unlearn-pl fit` on a SLURM cluster, one task per GPU; Lightning reads ranks and addresses from SLURM.
#
#   sbatch --nodes=2 experiments/cluster/slurm.sh -c RECIPE.yaml -c experiments/cluster/fsdp2.yaml
#
# To go on after a time limit, submit the same line again with --ckpt_path=last; a requeued job does so by itself. On
# SIGTERM, fit saves a checkpoint between two steps (--signal=TERM@120 sends it before the time limit). trainer.default_root_dir must be a
# folder that all nodes see.
#SBATCH --job-name=unlearn
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
srun python -m unlearn_pl fit "$@" \
  --trainer.num_nodes="$SLURM_JOB_NUM_NODES" --trainer.devices="$SLURM_NTASKS_PER_NODE"
