# Stage 2 with xTA and discriminators, on the labelled images only.
_base_ = ('../_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
          '0.1_0.05_60k_128_group_window_size16.py')
data = dict(
    train=dict(datasets=[{{_base_.reta}}, {{_base_.ddr}}, {{_base_.refuge}}]))
