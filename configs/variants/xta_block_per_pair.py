# Stage 2 with a cross-task attention block of its own for each ordered pair of
# tasks, instead of one for all.
_base_ = ('../_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
          '0.1_0.05_60k_128_group_window_size16.py')
model = dict(decode_head=dict(cross_task_attention=dict(share_block=False)))
