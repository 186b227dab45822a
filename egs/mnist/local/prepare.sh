#!/usr/bin/env bash
# Makes the image packs DATA/{train,test} of MNIST.
#
# Usage: local/prepare.sh CORPUS DATA
#   CORPUS  download   fetch the four files, 12 MB (into DATA/corpus)
#           a folder   with them: train-images-idx3-ubyte.gz ..., gzipped or not
set -euo pipefail

if [ $# -ne 2 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi
kds corpus mnist "$1" "$2" --to "$2/corpus"
