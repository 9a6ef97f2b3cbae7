# Stage 1 for lesions alone: one decoder, one dataset.
_base_ = ('../_multi_task_/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
          'pretrain_224x224_1K_group_idrid_ddr_refuge.py')
model = dict(tasks=['lesion'])
test_sets = dict(
    _delete_=True,
    ddr={{_base_.test_sets.ddr}},
    idrid={{_base_.test_sets.idrid}})
data = dict(
    train=dict(datasets=[{{_base_.ddr}}]),
    val=dict(datasets=[
        dict(
            type='PartialLabelDataset',
            name='ddr_val',
            img_dir='DDR-FOVCrop-padding/val/images',
            ann_dirs=dict(lesion='DDR-FOVCrop-padding/val/ann'),
            pipeline={{_base_.test_pipeline}})
    ]))
