# Stage 2 without cross-task attention.
_base_ = ('../_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
          '0.1_0.05_60k_128_group_window_size16.py')
model = dict(decode_head=dict(cross_task_attention=None))
