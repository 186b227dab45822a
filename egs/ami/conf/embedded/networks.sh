# shellcheck shell=bash disable=SC2034
# Small networks for little speech; egs/common/networks.sh says what each word means.
networks="HDNN-H64-L4 HDNN-H32-L4"
smbr=HDNN-H64-L4
speeds=0.9,1.1
adapted=HDNN-H32-L4_kd_q0_t1
adaptations="gates_ce gates_kl lhuc_ce"
ensemble=HDNN-H64-L4
top_ks=all
