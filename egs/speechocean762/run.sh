#!/usr/bin/env bash
# speechocean762, read English of Mandarin speakers: GMM-HMM acoustic models up to SAT.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/speechocean762/path.sh
. ./path.sh
title="Speech recognition on speechocean762"
# shellcheck source=egs/common/asr.sh
. ../common/asr.sh
