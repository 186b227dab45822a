# shellcheck shell=bash disable=SC2154
# The network stages of a speech recognition recipe, for asr.sh: from the speaker-adapted Gaussian
# system to small students. Which networks there are, a recipe says in conf/networks.sh (for the
# embedded corpus in conf/embedded/); dnn.yaml, sequence.yaml and adapt.yaml beside it say how they
# are trained. A system that has been scored is not made again; to make it again, remove its
# directory.

networks_conf=conf
if [ "$conf" = conf/embedded.yaml ]; then networks_conf=conf/embedded; fi
# shellcheck source=/dev/null
if [ -f "$networks_conf/networks.sh" ]; then . "$networks_conf/networks.sh"; fi

# What networks.sh may set, and what it is otherwise. Without `networks` these stages do nothing.
: "${gmm:=tri3b}"                  # its alignments, tree and transforms
: "${networks:=}"                  # trained with cross-entropy: "HDNN-H512-L6 DNN-H512-L6 ..."
: "${teacher:=${networks%% *}}"
: "${student:=${networks##* }}"
: "${teacher_by:=smbr}"            # how the teacher is trained last: smbr, mmi or ce
: "${smbr=$networks}"              # networks that are trained further with sMBR; "" for none
: "${mmi:=}"                       # ... with MMI
: "${kd_grid:=0,1}"                # frame-level distillation: pairs q,T
: "${kd_best:=0,1}"                # the pair that is taken from there on
: "${ensemble:=}"                  # systems that teach with the teacher, as one more form; with the first seed
: "${taught:=}"                    # other networks that learn as the student does; with the first seed
: "${kd_then:=smbr}"               # how both are trained after that
: "${kl_weight:=0.2}"              # p of sMBR + p KL
: "${top_k:=50}"                   # posteriors of a frame that are stored
: "${top_ks:=}"                    # other numbers of them to learn from: 5 10 20 all
: "${adapted:=}"                   # systems that are adapted to speakers
: "${adaptations:=gates_ce all_ce gates_kl all_kl lhuc_ce}"  # a plain network's leave out gates_...
: "${speeds:=}"                    # factors at which training speech is heard too: 0.9,1.1
: "${more:=}"                      # further sets to train on, where they are there: train_children
: "${more_speeds=$speeds}"         # factors for these
: "${seeds:=0}"                    # of the networks; further ones end in _seed1 and so on
: "${seeded:=$networks $adapted}"  # made with the further seeds too, the distilled student always
ali=$exp/${gmm}_ali_networks
frames=$exp/frames

# Is stage N asked for, of a recipe with networks?
wants() { [ -n "$networks" ] && runs "$1"; }

# HDNN-H512-L6 is trained in exp/hdnn_h512_l6, with seed 1 in exp/hdnn_h512_l6_seed1.
system_of() {
  local name=${1,,}
  name=${name//-/_}
  name=${name//./}  # q0.2: a dot stands before what is an adaptation
  if [ "${2:-0}" = 0 ]; then echo "$name"; else echo "${name}_seed$2"; fi
}

# Everything is made with the first seed. Of a list of words those that are made with a seed, with_seed
# SEED LIST: with the others those in `seeded`.
is_first() { [ "$1" = "${seeds%% *}" ]; }
with_seed() {
  local word
  for word in $2; do
    if is_first "$1" || [[ " $seeded " == *" $word "* ]]; then echo "$word"; fi
  done
}

# The teacher with a seed, or with the first one where it has no other: as sequence training left it,
# where it is trained so.
teacher_of() {
  local trained=${!teacher_by:-} seed=$1
  if [ -z "$(with_seed "$seed" "$teacher")" ]; then seed=${seeds%% *}; fi
  case " $trained " in
    *" $teacher "*) system_of "${teacher}_$teacher_by" "$seed" ;;
    *) system_of "$teacher" "$seed" ;;
  esac
}

# At most nj commands at a time: `beside COMMAND ...`, in the end `all_done`. An error ends the script.
beside() {
  while [ "$(jobs -rp | wc -l)" -ge "$nj" ]; do wait -n; done
  "$@" &
  started+=("$!")
}
all_done() {
  local pid
  for pid in "${started[@]}"; do wait "$pid"; done
  started=()
}
started=()

# Decodes dev and test with a network and scores: decode_network SYSTEM. What comes after a dot is an
# adaptation: its speakers' networks are in adapted_dev and adapted_test. The LM scale is that of
# score_network in --conf; where there is none, dev chooses it.
decode_network() {
  local system=$1 name=${1%%.*} suffix="" split tuned adapted_to
  if [ "$name" != "$system" ]; then suffix=.${system#*.}; fi
  for split in $(evaluated); do
    tuned=("${score_network[@]}") adapted_to=()
    if [ -n "$suffix" ]; then adapted_to=(--adapted "$exp/$name/adapted_$split$suffix"); fi
    if [ ${#tuned[@]} = 0 ] && [ "$split" = test ] && [ -d "$data/dev" ]; then
      tuned=(--tuned-on "$exp/$name/decode_dev$suffix")
    fi
    timed "decode_${system}_$split" kds decode "$exp/$gmm/graph" "$data/$split" \
      "$exp/$name/decode_$split$suffix" --transform-dir "$exp/$gmm/decode_$split" \
      "${decode_network[@]}" "${adapted_to[@]}"
    kds score "$data/$split" "$exp/$gmm/graph" "$exp/$name/decode_$split$suffix" \
      --system "$system" "${tuned[@]}" "${score[@]}"
  done
}

# How something is trained, config_of WHAT VARIANT ...: the file of the first variant that has one, or that
# of what is not trained otherwise. dnn_h512.yaml is for networks of 512 hidden units, dnn_plain.yaml for those
# without highway layers, sequence_smbr.yaml for sMBR.
config_of() {
  local what=$1 variant
  shift
  for variant in "$@"; do
    if [ -f "$networks_conf/${what}_$variant.yaml" ]; then what+=_$variant && break; fi
  done
  echo "$networks_conf/$what.yaml"
}

# Each of these makes a system, unless it is there already, and decodes with it.
# From frames: train_network SYSTEM NETWORK SEED OPTIONS.
train_network() {
  local system=$1 network=$2 seed=$3 size=${2#*-} variants=()
  shift 3
  if is_done "$system"; then return; fi
  if [[ $network = DNN-* ]]; then variants=(plain); fi
  size=${size%%-*}
  variants+=("${size,,}")
  timed "train_$system" kds train-dnn "$frames/train" "$ali" "$exp/$system" \
    --config "$(config_of dnn "${variants[@]}")" --set "network.model=$network" --set "train.seed=$seed" "$@"
  decode_network "$system"
}

# From a network and its lattices: train_further SYSTEM INIT HOW SEED OPTIONS, HOW being a criterion with
# or without _kl.
train_further() {
  local system=$1 init=$2 how=$3 seed=$4
  shift 4
  if is_done "$system"; then return; fi
  timed "train_$system" kds train-sequence "$frames/train" "$ali" "$exp/$init/decode_train" \
    "$exp/$init" "$exp/$system" --config "$(config_of sequence "$how")" --lang "$data/lang" \
    --set "criterion=${how%_kl}" --set "train.seed=$seed" "$@"
  decode_network "$system"
}

# To speakers: adapt_network SYSTEM ADAPTATION TEACHER, as adapt_network hdnn_h128_l6 gates_ce "". The
# targets of CE are what the system itself has heard, those of KL the teacher's stored posteriors.
adapt_network() {
  local system=$1 how=$2 groups=${2%_*} loss=${2##*_} split options
  if [[ $groups = gates && $system = dnn_* ]]; then return; fi  # it has none
  if [ "$loss" = kl ] && [ "$system" = "$3" ]; then return; fi  # they are its own
  if is_done "$system.$how"; then return; fi
  for split in $(evaluated); do
    options=(--set "update=[$groups]" --set "loss=$loss")
    if [ "$loss" = kl ]; then
      options+=(--set "distill.teachers=[$exp/$3]")
      options+=(--set "distill.store=$(store_of "$3" 1 "$split")")
    fi
    timed "adapt_$system.${how}_$split" kds adapt "$frames/$split" "$exp/$system/decode_$split" \
      "$exp/$system" "$exp/$system/adapted_$split.$how" --config "$(config_of adapt "$loss")" \
      "${options[@]}"
  done
  decode_network "$system.$how"
}

# A student with q,T and a seed, distilled_by NETWORK q,T SEED: hdnn_h128_l10_kd_q05_t2.
distilled_by() { system_of "$1_kd_q${2%,*}_t${2#*,}" "$3"; }

# The top_k posteriors of every frame of a set by a teacher, or by the mean of several, A,B,C:
# store_posteriors TEACHERS T SET.
store_of() {
  local first=${1%%,*}
  local others=${1#"$first"}
  echo "$exp/$first/posteriors_$3_t$2_k$top_k${others//,/+}.arrow"
}
store_posteriors() {
  local store teachers
  store=$(store_of "$@")
  if [ -f "$store" ]; then return; fi
  IFS=, read -ra teachers <<<"$1"
  timed "posteriors_$1_$3_t$2" kds make-soft-labels "$frames/$3" "${teachers[@]/#/$exp/}" \
    "$store" --temperature "$2" --top-k "$top_k"
}

# A student of the K largest posteriors: learn_posteriors SYSTEM NETWORK SEED TEACHERS q,T K. For all of
# them, which are not stored, teachers label on line.
learn_posteriors() {
  local from=(--set "distill.store=$(store_of "$4" "${5#*,}" train)" --set "distill.top_k=$6")
  if [ "$6" = all ]; then from=(); fi
  train_network "$1" "$2" "$3" --set "distill.teachers=[$exp/${4//,/,$exp/}]" \
    --set "distill.q=${5%,*}" --set "distill.temperature=${5#*,}" "${from[@]}"
}

is_done() { [ -f "$exp/${1%%.*}/decode_test${1#"${1%%.*}"}/scoring_kaldi/best_wer" ]; }

# Lattices of the training speech by a network, with a unigram: denominators.
decode_train() {
  if [ -f "$exp/$1/decode_train/num_jobs" ]; then return; fi
  timed "lattices_$1" kds decode "$exp/$gmm/graph_train" "$data/train" "$exp/$1/decode_train" \
    --transform-dir "$ali" --raw "${decode_train[@]}"
}

# Features of a set to train on, at further speeds too where there are factors: at_speeds SET FACTORS.
at_speeds() {
  local name=$1
  if [ -n "$2" ]; then
    name=$1_sp
    kds data perturb-speed "$data/$1" "$data/$name" --factors "$2" --nj "$nj"
  fi
  if [ "$name" != train ]; then mfcc "$name"; fi
  packed+=("$data/$name")
}

if wants 10; then
  echo "== stage 10: frames"
  packed=()
  at_speeds train "$speeds"
  for split in $more; do
    if [ -d "$data/$split" ]; then at_speeds "$split" "$more_speeds"; fi
  done
  heard=${packed[0]}
  if [ ${#packed[@]} -gt 1 ]; then
    heard=$data/train_all
    kds data combine "$heard" "${packed[@]}"
  fi
  timed align_networks kds align-fmllr "$heard" "$data/lang" "$exp/$gmm" "$ali" \
    --nj "$nj" "${align_fmllr[@]}"
  kds make-frames "$heard" "$ali" "$frames/train"
  for split in $(evaluated); do
    kds make-frames "$data/$split" "$exp/$gmm/decode_$split" "$frames/$split"
  done
fi

if wants 11; then
  echo "== stage 11: networks"
  for seed in $seeds; do
    for network in $(with_seed "$seed" "$networks"); do
      beside train_network "$(system_of "$network" "$seed")" "$network" "$seed"
    done
  done
  all_done
fi

if wants 12 && [ -n "$smbr$mmi" ]; then
  echo "== stage 12: sequence training"
  said=("$data/local/lm.txt")
  if [ ! -f "${said[0]}" ]; then said=(--keyed "$data/train/text"); fi  # as with Kaldi's data
  mkdir -p "$data/local"
  kds lm estimate --order 1 "${said[@]}" "$data/local/lm_train.arpa.gz"
  rm -rf "$data/lang_train"
  cp -r "$data/lang" "$data/lang_train"
  kds arpa-to-fst "$data/local/lm_train.arpa.gz" "$data/lang_train/words.txt" "$data/lang_train/G.fst"
  kds make-graph "$data/lang_train" "$exp/$gmm" "$exp/$gmm/graph_train" "${graph[@]}"
  for seed in $seeds; do
    for network in $(with_seed "$seed" "$smbr $mmi" | sort -u); do
      beside decode_train "$(system_of "$network" "$seed")"
    done
    all_done
    for criterion in smbr mmi; do
      for network in $(with_seed "$seed" "${!criterion}"); do
        beside train_further "$(system_of "${network}_$criterion" "$seed")" \
          "$(system_of "$network" "$seed")" "$criterion" "$seed"
      done
    done
    all_done
  done
fi

if wants 13; then
  echo "== stage 13: frame-level distillation"
  for seed in $seeds; do
    by=$(teacher_of "$seed")
    grid=$kd_best ks='' also='' all=$by
    if is_first "$seed"; then
      grid=$kd_grid ks=$top_ks also=$taught
      for system in $ensemble; do all+=,$(system_of "$system" "$seed"); done
    fi
    temperatures=$(for pair in $grid; do echo "${pair#*,}"; done | sort -u)
    for t in $temperatures; do beside store_posteriors "$by" "$t" train; done
    if [ "$all" != "$by" ]; then beside store_posteriors "$all" "${kd_best#*,}" train; fi
    all_done
    for pair in $grid; do
      beside learn_posteriors "$(distilled_by "$student" "$pair" "$seed")" "$student" "$seed" \
        "$by" "$pair" "$top_k"
    done
    for network in $also; do
      beside learn_posteriors "$(distilled_by "$network" "$kd_best" "$seed")" "$network" "$seed" \
        "$by" "$kd_best" "$top_k"
    done
    for k in $ks; do
      beside learn_posteriors "$(system_of "${student}_kd_k$k" "$seed")" "$student" "$seed" "$by" \
        "$kd_best" "$k"
    done
    if [ "$all" != "$by" ]; then
      beside learn_posteriors "$(system_of "${student}_kd_ensemble" "$seed")" "$student" "$seed" \
        "$all" "$kd_best" "$top_k"
    fi
  done
  all_done
fi

if wants 14 && [ -n "$smbr" ]; then
  echo "== stage 14: sequence-level distillation"
  for seed in $seeds; do
    by=$(teacher_of "$seed")
    plain=$(system_of "$student" "$seed")
    distilled=$(distilled_by "$student" "$kd_best" "$seed")
    taught_by=(--set "teachers=[$exp/$by]") also=''
    if is_first "$seed"; then also=$taught; fi
    for system in "$plain" "$distilled"; do beside decode_train "$system"; done
    for network in $also; do
      beside decode_train "$(distilled_by "$network" "$kd_best" "$seed")"
    done
    all_done
    beside train_further "$(system_of "${student}_skd" "$seed")" "$plain" kd "$seed" \
      "${taught_by[@]}" --set ce_weight=0
    beside train_further "$(system_of "${student}_kd_skd" "$seed")" "$distilled" kd \
      "$seed" "${taught_by[@]}" --set ce_weight=0
    for network in $student $also; do
      init=$(distilled_by "$network" "$kd_best" "$seed")
      for criterion in $kd_then; do
        beside train_further "$(system_of "${network}_kd_$criterion" "$seed")" "$init" \
          "$criterion" "$seed"
      done
    done
    beside train_further "$(system_of "${student}_kd_smbr_kl" "$seed")" "$distilled" \
      smbr_kl "$seed" "${taught_by[@]}" --set "kl_weight=$kl_weight"
    all_done
  done
fi

if wants 15; then
  echo "== stage 15: adaptation"
  for seed in $seeds; do
    by=$(teacher_of "$seed")
    if [[ -n $adapted && $adaptations = *_kl* ]]; then
      for split in $(evaluated); do beside store_posteriors "$by" 1 "$split"; done
      all_done
    fi
    for system in $(with_seed "$seed" "$adapted"); do
      for how in $adaptations; do
        beside adapt_network "$(system_of "$system" "$seed")" "$how" "$by"
      done
    done
  done
  all_done
fi
