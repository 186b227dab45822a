# shellcheck shell=bash disable=SC2034
# The networks of Lu, Guo & Renals 2017; egs/common/networks.sh says what each word means.
networks="HDNN-H512-L10 DNN-H2048-L6 DNN-H512-L10 HDNN-H256-L10 DNN-H256-L10 DNN-H128-L10 HDNN-H128-L10"
kd_grid="0,1 0.2,1 0.5,1 0,2 0,3"
adapted="HDNN-H512-L10_smbr HDNN-H256-L10_smbr HDNN-H128-L10_kd_q0_t1"
