#!/usr/bin/env bash
# The stages of a keyword-spotting recipe. A recipe's run.sh sets its own defaults, then sources
# this file from its folder; what is the corpus's own stands in its local/ and conf/. The search of
# stages 7 and 8 is not of the default run.

: "${title:=Keyword spotting}"     # of the report
: "${corpus:=embedded}"           # embedded, download, or the folder of a corpus that is there
: "${conf:=conf/kws.yaml}"        # the recipe: features, network, training, plan
: "${exp:=exp/kws}"               # networks and results go here
: "${plan:=}"                     # input lengths in ms, e.g. 1000,800,500; else the recipe's
: "${labels:=soft}"               # soft or hard
: "${sweep:=false}"               # true: every chain of the recipe, not its one plan
: "${seeds:=0}"                   # e.g. 0,1,2
: "${iterate_conf:=conf/iterate.yaml}"   # the search for a smaller network
: "${stop_stage:=6}"

usage() {
  cat <<EOF
Usage: $0 [options]
Keyword spotting with progressive label distillation.

Stages
  0  prepare    the corpus as Kaldi data directories (local/prepare.sh)
  1  pack       every split as one memory-mapped waveform pack
  2  teacher    the network for whole clips, from their own labels
  3  distil     students with ever shorter inputs, from their teachers' labels
  4  baselines  the shorter inputs without distillation
  5  score      accuracy, intervals and confusion: exp/*/results.json and the tables
  6  report     one self-contained page: exp/*/report.html
Only where they are asked for, by --stage 7 or --stop-stage 8:
  7  iterate    a smaller network with a smaller input, generation by generation (docs/iterate.md)
  8  family     the page of that search: exp/*/iterate/report.html

Options (with their values now)
  --corpus $corpus    embedded, download or DIR
  --stage $stage  --stop-stage $stop_stage
  --conf $conf  --iterate-conf $iterate_conf
  --data $data  --exp $exp
  --plan ${plan:-"(the recipe's)"}  --labels $labels  --sweep $sweep
  --set section.key=value    over the recipe's configuration; may be repeated
  --seeds $seeds  --nj $nj  --results ${results:-"(none)"}
Relative paths start from $PWD; --corpus also from where you stand.
EOF
}

takes="--plan --labels --sweep --seeds --iterate-conf"
# shellcheck source=egs/common/options.sh
. ../common/options.sh
from_the_user corpus
markdown_options

case "$sweep" in
  true | false) ;;
  *) echo "$0: --sweep $sweep: true or false" >&2; exit 1 ;;
esac

if [ "$stage" -gt 6 ] && [ "$stop_stage" -eq 6 ]; then stop_stage=8; fi

shared=(--data "$data/packs" --seeds "$seeds" --nj "$nj" "${sets[@]}")
common=(--config "$conf" --exp "$exp" "${shared[@]}")

if runs 0; then
  echo "== stage 0: prepare $corpus"
  local/prepare.sh "$corpus" "$data"
fi

if runs 1; then
  echo "== stage 1: pack the waveforms"
  for split in train dev test noise; do
    if [ -d "$data/$split" ]; then
      kds make-pack "$data/$split" "$data/packs/$split"
    else
      rm -rf "$data/packs/$split"  # of an earlier corpus that had noise
    fi
  done
fi

if runs 2; then
  echo "== stage 2: teacher"
  kds distill teacher "${common[@]}"
fi

if runs 3; then
  echo "== stage 3: distil"
  if [ "$sweep" = true ]; then
    kds distill sweep "${common[@]}" ${plan:+--set "plan=$plan"}
  else
    kds distill progressive "${common[@]}" ${plan:+--plan "$plan"} --labels "$labels"
  fi
fi

if runs 4; then
  echo "== stage 4: baselines"
  if [ "$sweep" = true ]; then
    echo "the sweep of stage 3 has them"
  else
    kds distill baselines "${common[@]}" ${plan:+--lengths "${plan##*,}"}
  fi
fi

if runs 5; then
  echo "== stage 5: score"
  kds distill score "$exp"
fi

if runs 6; then
  echo "== stage 6: report"
  kds report "$exp" --title "$title" --command "$command_line" "${markdown[@]}"
fi

if runs 7; then
  echo "== stage 7: iterate"
  kds distill iterate --config "$iterate_conf" --exp "$exp/iterate" "${shared[@]}"
fi

if runs 8; then
  echo "== stage 8: family"
  conf=$iterate_conf results=${results:+${results%.md}-iterate.md}
  markdown_options
  kds report "$exp/iterate" --title "$title: a smaller network with a smaller input" \
    --command "$command_line" "${markdown[@]}"
fi
