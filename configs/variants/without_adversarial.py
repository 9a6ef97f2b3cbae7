# Stage 2 with pseudo labels and xTA, but without discriminators. Parts without
# weights get no optimizer, so the schedule need not change.
_base_ = ('../_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
          '0.1_0.05_60k_128_group_window_size16.py')
model = dict(discriminator=None)
