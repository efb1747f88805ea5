#!/usr/bin/env bash
# Runs `unlearn-pl fit` on all GPUs of one node, or of several.
#
#   GPUS=8 experiments/cluster/torchrun.sh -c RECIPE.yaml -c experiments/cluster/ddp.yaml
#   NODES=4 HEAD=first-node GPUS=8 experiments/cluster/torchrun.sh -c ...    # on each of the four nodes
#
# trainer.default_root_dir must be a folder that all nodes see.
set -euo pipefail
gpus=${GPUS:?"set GPUS to the number of GPUs per node"} nodes=${NODES:-1}
exec python -m torch.distributed.run \
  --nnodes "$nodes" --nproc-per-node "$gpus" \
  --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost}:${PORT:-29500}" --rdzv-id "${RUN:-unlearn}" \
  -m unlearn_pl fit "$@" --trainer.num_nodes="$nodes" --trainer.devices="$gpus"
