#!/usr/bin/env bash
# speechocean762, read English of Mandarin speakers: Gaussian acoustic models up to SAT, highway
# networks, and small ones that learn from them.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/speechocean762/path.sh
. ./path.sh
title="Speech recognition on speechocean762"
# shellcheck source=egs/common/asr.sh
. ../common/asr.sh
