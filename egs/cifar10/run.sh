#!/usr/bin/env bash
# CIFAR-10: the tables of Li 2018. All of them need a GPU; --corpus embedded shows the recipe run.
set -euo pipefail
called_from="$PWD"
cd "$(dirname "$0")"
# shellcheck source=egs/cifar10/path.sh
. ./path.sh
title="Ten kinds of things (CIFAR-10)"
embedded_conf=conf/embedded.yaml
# shellcheck source=egs/common/images.sh
. ../common/images.sh
