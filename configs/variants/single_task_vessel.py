# Stage 1 for vessels alone: one decoder, one dataset.
_base_ = ('../_multi_task_/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
          'pretrain_224x224_1K_group_idrid_ddr_refuge.py')
model = dict(tasks=['vessel'])
test_sets = dict(
    _delete_=True,
    drive={{_base_.test_sets.drive}},
    stare={{_base_.test_sets.stare}},
    aria={{_base_.test_sets.aria}})
data = dict(
    train=dict(datasets=[{{_base_.reta}}]),
    val=dict(datasets=[
        dict(
            type='PartialLabelDataset',
            name='drive_train',
            img_dir='DRIVE-FOVCrop-padding/train/images',
            img_suffix='.tif',
            ann_dirs=dict(vessel='DRIVE-FOVCrop-padding/train/ann'),
            pipeline={{_base_.test_pipeline}})
    ]),
    test=dict(
        name='drive',
        img_dir='DRIVE-FOVCrop-padding/test/images',
        img_suffix='.tif',
        ann_dirs=dict(_delete_=True, vessel='DRIVE-FOVCrop-padding/test/ann'),
        fov_dir='DRIVE-FOVCrop-padding/test/fov'))
