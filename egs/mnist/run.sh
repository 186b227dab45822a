#!/usr/bin/env bash
# MNIST: the table of Li 2018, and a VGG-like network made smaller step by step.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/mnist/path.sh
. ./path.sh
title="Handwritten digits (MNIST)"
# shellcheck source=egs/common/images.sh
. ../common/images.sh
