#!/usr/bin/env bash
# The stages of a speech recognition recipe, from a corpus to word error rates. A recipe's run.sh
# sets its own defaults, then sources this file from its folder; what is the corpus's own stands in
# its local/ and conf/.

: "${title:=Speech recognition}"  # of the report
: "${corpus:=download}"           # download, the folder of a corpus, or embedded where there is one
: "${conf:=}"                     # every number; else conf/asr.yaml, conf/embedded.yaml
: "${exp:=exp}"                   # models, graphs, lattices and results go here
: "${lm_text:=}"                  # more text for the language model
: "${prepare_script:=local/prepare.sh}"

usage() {
  cat <<USAGE
Usage: $0 [options]
Acoustic models: Gaussian ones up to speaker adaptation, networks, and small networks that learn
from large ones; decoding and scoring.

Stages
  0  prepare  the corpus as Kaldi data directories and a dictionary (local/prepare.sh)
  1  lang     phones, words, lexicon and grammar: data/lang
  2  feats    MFCC and their means and variances per speaker
  3  mono     monophones, from a flat start
  4  tri1     triphones on deltas
  5  tri2b    triphones on LDA+MLLT features
  6  tri3b    speaker-adaptive training on fMLLR features
  7  graphs   HCLG of each of them
  8  decode   dev, if there is one, and test, tri3b in two passes with fMLLR
  9  score    word error rates, LM scale and insertion penalty chosen on dev or fixed in --conf;
              the report as it is by then

  10 frames     features of the training speech, at other speeds too, packed for networks
  11 networks   DNN and highway DNN by cross-entropy (conf/networks.sh says which)
  12 sequence   lattices with a unigram; sMBR and MMI
  13 frame-kd   a student learns the posteriors of a teacher
  14 sequence-kd  a student learns lattices; sMBR after distillation
  15 adapt      networks adapted to each speaker

  16 report     one self-contained page: $exp/report.html

Options (with their values now)
  --corpus $corpus    download or DIR, embedded where the recipe has one
  --stage $stage  --stop-stage $stop_stage
  --conf ${conf:-conf/asr.yaml}  --data $data  --exp $exp
  --lm-text ${lm_text:-"(none)"}    more text for the language model, a sentence a line
  --set section.key=value    over the recipe's configuration; may be repeated
  --nj $nj  --results ${results:-"(none)"}
Relative paths start from $PWD; --corpus and --lm-text also from where you stand.
USAGE
}

takes="--lm-text"
# shellcheck source=egs/common/options.sh
. ../common/options.sh
from_the_user corpus lm_text
if [ -z "$conf" ]; then
  conf=conf/asr.yaml
  if [ "$corpus" = embedded ]; then conf=conf/embedded.yaml; fi
fi
markdown_options

# Each section of the configuration becomes an array of options with its name.
prepare=() lang=() lm=() mono=() tri1=() tri2b=() tri3b=() align=() align_fmllr=()
graph=() decode=() decode_fmllr=() decode_network=() decode_train=() score=() score_network=()
options=$(kds options "$conf" "${sets[@]}" prepare lang lm mono tri1 tri2b tri3b align align_fmllr \
  graph decode decode_fmllr decode_network decode_train score score_network)
eval "$options"

# Runs a command and leaves its CPU and wall seconds in exp/times/NAME for the report: a line each time, if
# it failed or was killed at first.
timed() {
  local name=$1 TIMEFORMAT='%U %S %R'
  shift
  mkdir -p "$exp/times"
  { time "$@" 2>&3; } 3>&2 2>>"$exp/times/.$name"
  mv "$exp/times/.$name" "$exp/times/$name"
}

# Of the sets to decode those that the corpus has: dev may be missing.
evaluated() {
  local split
  for split in dev test; do
    if [ -d "$data/$split" ]; then echo "$split"; fi
  done
}

# Features of data/SET, and their means and variances per speaker.
mfcc() {
  kds make-feats mfcc "$data/$1" --config conf/mfcc.conf --nj "$nj"
  kds data fix "$data/$1"
  kds compute-cmvn "$data/$1"
}

# One page of every system that has been scored.
report() {
  local reference=()
  if [ -f conf/kaldi.yaml ]; then reference=(--reference conf/kaldi.yaml); fi
  kds report-asr "$exp" --data "$data" --title "$title" --command "$command_line" \
    "${markdown[@]}" "${reference[@]}" "$@"
}

if runs 0; then
  echo "== stage 0: prepare $corpus"
  "$prepare_script" "$corpus" "$data" ${lm_text:+"$lm_text"} "${prepare[@]}"
fi

# G of the corpus's text, mixed with other text where there is some.
ngram_grammar() {
  local arpa="$data/local/lm.arpa.gz"
  kds lm estimate "$data/local/lm.txt" "$arpa" "${lm[@]}"
  if [ -f "$data/local/lm_more.txt" ]; then
    if [ ! -f "$data/dev/text" ]; then
      echo "$0: --lm-text: two models are mixed on $data/dev/text, which is not there" >&2
      exit 1
    fi
    kds lm estimate "$data/local/lm_more.txt" "$data/local/lm_more.arpa.gz" "${lm[@]}"
    kds lm interpolate "$arpa" "$data/local/lm_more.arpa.gz" "$data/local/lm_mixed.arpa.gz" \
      --dev "$data/dev/text" --keyed
    arpa="$data/local/lm_mixed.arpa.gz"
  fi
  if [ -f "$data/dev/text" ]; then kds lm perplexity "$arpa" "$data/dev/text" --keyed; fi
  kds arpa-to-fst "$arpa" "$data/lang/words.txt" "$data/lang/G.fst"
}

if runs 1; then
  echo "== stage 1: lang"
  kds prepare-lang "$data/local/dict" "$data/lang" "${lang[@]}"
  if [ -f "$data/local/one_of.txt" ]; then
    kds words-to-fst "$data/local/one_of.txt" "$data/lang/words.txt" "$data/lang/G.fst"
  else
    ngram_grammar
  fi
fi

if runs 2; then
  echo "== stage 2: feats"
  for split in train $(evaluated); do
    mfcc "$split"
  done
fi

if runs 3; then
  echo "== stage 3: mono"
  timed train_mono kds train-mono "$data/train" "$data/lang" "$exp/mono" --nj "$nj" "${mono[@]}"
fi

if runs 4; then
  echo "== stage 4: tri1"
  timed align_mono kds align "$data/train" "$data/lang" "$exp/mono" "$exp/mono_ali" \
    --nj "$nj" "${align[@]}"
  timed train_tri1 kds train-deltas "$data/train" "$data/lang" "$exp/mono_ali" "$exp/tri1" \
    --nj "$nj" "${tri1[@]}"
fi

if runs 5; then
  echo "== stage 5: tri2b"
  timed align_tri1 kds align "$data/train" "$data/lang" "$exp/tri1" "$exp/tri1_ali" \
    --nj "$nj" "${align[@]}"
  timed train_tri2b kds train-lda-mllt "$data/train" "$data/lang" "$exp/tri1_ali" "$exp/tri2b" \
    --nj "$nj" "${tri2b[@]}"
fi

if runs 6; then
  echo "== stage 6: tri3b"
  timed align_tri2b kds align "$data/train" "$data/lang" "$exp/tri2b" "$exp/tri2b_ali" \
    --nj "$nj" "${align[@]}"
  timed train_tri3b kds train-sat "$data/train" "$data/lang" "$exp/tri2b_ali" "$exp/tri3b" \
    --nj "$nj" "${tri3b[@]}"
  timed align_tri3b kds align-fmllr "$data/train" "$data/lang" "$exp/tri3b" "$exp/tri3b_ali" \
    --nj "$nj" "${align_fmllr[@]}"
fi

if runs 7; then
  echo "== stage 7: graphs"
  for system in mono tri1 tri2b tri3b; do
    timed "graph_$system" kds make-graph "$data/lang" "$exp/$system" "$exp/$system/graph" \
      "${graph[@]}"
  done
fi

if runs 8; then
  echo "== stage 8: decode"
  for split in $(evaluated); do
    for system in mono tri1 tri2b; do
      timed "decode_${system}_$split" kds decode "$exp/$system/graph" "$data/$split" \
        "$exp/$system/decode_$split" --nj "$nj" "${decode[@]}"
    done
    # The first pass, without adaptation, is kept as decode_*.si.
    timed "decode_tri3b_$split" kds decode --fmllr "$exp/tri3b/graph" "$data/$split" \
      "$exp/tri3b/decode_$split" --nj "$nj" "${decode[@]}" "${decode_fmllr[@]}"
  done
fi

if runs 9; then
  echo "== stage 9: score"
  for system in mono tri1 tri2b tri3b.si tri3b; do
    model="$exp/${system%.si}"
    pass="${system#"${system%.si}"}"  # .si or nothing
    tuned_on=()
    if [ -d "$data/dev" ]; then
      kds score "$data/dev" "$model/graph" "$model/decode_dev$pass" --system "$system" "${score[@]}"
      tuned_on=(--tuned-on "$model/decode_dev$pass")
    fi
    kds score "$data/test" "$model/graph" "$model/decode_test$pass" --system "$system" \
      "${tuned_on[@]}" "${score[@]}"
  done
  report
fi

# shellcheck source=egs/common/networks.sh
. ../common/networks.sh

if runs 16; then
  echo "== stage 16: report"
  claims=()
  if [ -f conf/claims.yaml ]; then claims=(--claims conf/claims.yaml); fi
  report "${claims[@]}"
fi
