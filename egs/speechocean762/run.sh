#!/usr/bin/env bash
# speechocean762, read English of Mandarin speakers: Gaussian acoustic models up to SAT, highway
# networks, and small ones that learn from them.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/speechocean762/path.sh
. ./path.sh
title="Speech recognition on speechocean762"
networks="HDNN-H512-L6 DNN-H512-L6 HDNN-H256-L6 DNN-H256-L6 DNN-H128-L10 HDNN-H128-L10"
mmi="HDNN-H512-L6 HDNN-H128-L10"
kd_grid="0,1 0.2,1 0.5,1 0,2 0,3"
adapted="HDNN-H128-L10 HDNN-H128-L10_kd_q0_t1 HDNN-H512-L6"
speeds=0.9,1.1
# shellcheck source=egs/common/asr.sh
. ../common/asr.sh
