# shellcheck shell=bash disable=SC2034
# The networks of the table; egs/common/networks.sh says what each word means.
networks="HDNN-H512-L6 DNN-H512-L6 HDNN-H256-L6 DNN-H256-L6 DNN-H128-L10 HDNN-H128-L10"
teacher_by=smbr             # the small network's better criterion on dev
mmi=$networks
kd_grid="0,1 0.2,1 0.5,1 0,2 0.2,2 0.5,2 0,3 0.2,3 0.5,3"
kd_then="mmi smbr"
kl_weight=1
top_ks="5 10 20 all"
ensemble="DNN-H512-L6_smbr HDNN-H256-L6_smbr"
adapted="HDNN-H512-L6_smbr HDNN-H128-L10_smbr HDNN-H128-L10_kd_smbr"
speeds=0.9,1.1
more=train_children         # slower they are more like adults
more_speeds=0.9
seeds="0 1"
seeded="HDNN-H128-L10 HDNN-H128-L10_smbr HDNN-H128-L10_kd_smbr"  # of one teacher
