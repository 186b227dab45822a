# shellcheck shell=bash
# Finds `kds`: the environment that `make` set up comes first, else whatever is on PATH.
if [ -d "$PWD/../../.venv/bin" ]; then PATH="$PWD/../../.venv/bin:$PATH"; fi
export PATH
# One thread per process: the recipe's parallelism is in --nj.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
