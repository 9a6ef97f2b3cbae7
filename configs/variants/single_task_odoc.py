# Stage 1 for disc and cup alone: one decoder, one dataset.
_base_ = ('../_multi_task_/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
          'pretrain_224x224_1K_group_idrid_ddr_refuge.py')
model = dict(tasks=['odoc'])
test_sets = dict(
    _delete_=True,
    refuge={{_base_.test_sets.refuge}},
    idrid_od={{_base_.test_sets.idrid_od}})
data = dict(
    train=dict(datasets=[{{_base_.refuge}}]),
    val=dict(datasets=[
        dict(
            type='PartialLabelDataset',
            name='refuge_val',
            img_dir='REFUGE-FOVCrop-padding/val/images',
            ann_dirs=dict(odoc='REFUGE-FOVCrop-padding/val/ann'),
            pipeline={{_base_.test_pipeline}})
    ]),
    test=dict(
        name='refuge',
        img_dir='REFUGE-FOVCrop-padding/test/images',
        ann_dirs=dict(_delete_=True, odoc='REFUGE-FOVCrop-padding/test/ann')))
