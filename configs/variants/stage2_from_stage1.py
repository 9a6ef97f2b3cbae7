# Stage 2 started from stage 1's network instead of ImageNet weights; attention
# and discriminators start from random weights.
_base_ = ('../_multi_gan_/gan_bdice_vessel_lesion_OD_idrid_ddr_refuge_semi_OD_'
          '0.1_0.05_60k_128_group_window_size16.py')
load_from = (
    'work_dirs/upernet_swin_tiny_patch4_window7_512x512_40k_multi_pretrain_'
    '224x224_1K_group_idrid_ddr_refuge/iter_40000.pth')
