# RETA labels vessels, DDR lesions, REFUGE disc and cup. Each iteration takes
# samples_per_gpu images of each. Prepared by `python -m prepare_dataset.*`.
data_root = 'data/FOVCrop-padding'
crop_size = (512, 512)
normalize = dict(
    type='Normalize',
    mean=[95.523, 57.776, 25.422],
    std=[58.273, 35.645, 16.790],
    to_rgb=True)

train_pipeline = [
    # both sides of a square image become 512 to 2048
    dict(
        type='LoadRandomCrop',
        img_scale=(1024, 1024),
        ratio_range=(0.5, 2.0),
        crop_size=crop_size),
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5),
    dict(
        type='RotateFromList',
        angles=[15, 11.25, 7.5, 3.75, 0, -3.75, -7.5, -11.25, -15]),
    normalize,
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(1024, 1024),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'), normalize,
            dict(type='ImageToTensor', keys=['img']),
            dict(type='CollectImage')
        ])
]

reta = dict(
    type='PartialLabelDataset',
    name='reta',
    img_dir='RETA/train/images',
    ann_dirs=dict(vessel='RETA/train/ann'),
    pipeline=train_pipeline)
ddr = dict(
    type='PartialLabelDataset',
    name='ddr',
    img_dir='DDR-FOVCrop-padding/train/images',
    ann_dirs=dict(lesion='DDR-FOVCrop-padding/train/ann'),
    pipeline=train_pipeline)
refuge = dict(
    type='PartialLabelDataset',
    name='refuge',
    img_dir='REFUGE-FOVCrop-padding/train/images',
    ann_dirs=dict(odoc='REFUGE-FOVCrop-padding/train/ann'),
    pipeline=train_pipeline)

# Every test set by name, for tools/test.py --datasets
test_sets = dict(
    drive=dict(
        type='PartialLabelDataset',
        name='drive',
        img_dir='DRIVE-FOVCrop-padding/test/images',
        img_suffix='.tif',
        ann_dirs=dict(vessel='DRIVE-FOVCrop-padding/test/ann'),
        fov_dir='DRIVE-FOVCrop-padding/test/fov',  # where it is there
        pipeline=test_pipeline),
    stare=dict(
        type='PartialLabelDataset',
        name='stare',
        img_dir='STARE-FOVCrop-padding/images',
        ann_dirs=dict(vessel='STARE-FOVCrop-padding/ann'),
        fov_dir='STARE-FOVCrop-padding/fov',
        pipeline=test_pipeline),
    aria=dict(
        type='PartialLabelDataset',
        name='aria',
        img_dir='ARIA-FOVCrop-padding/images',
        img_suffix='.tif',
        ann_dirs=dict(vessel='ARIA-FOVCrop-padding/ann'),
        fov_dir='ARIA-FOVCrop-padding/fov',
        pipeline=test_pipeline),
    ddr=dict(
        type='PartialLabelDataset',
        name='ddr',
        img_dir='DDR-FOVCrop-padding/test/images',
        ann_dirs=dict(lesion='DDR-FOVCrop-padding/test/ann'),
        pipeline=test_pipeline),
    idrid=dict(
        type='PartialLabelDataset',
        name='idrid',
        img_dir='IDRiD-FOVCrop-padding/test/images',
        ann_dirs=dict(lesion='IDRiD-FOVCrop-padding/test/ann'),
        pipeline=test_pipeline),
    refuge=dict(
        type='PartialLabelDataset',
        name='refuge',
        img_dir='REFUGE-FOVCrop-padding/test/images',
        ann_dirs=dict(odoc='REFUGE-FOVCrop-padding/test/ann'),
        pipeline=test_pipeline),
    # disc masks only; tools/test.py --OD
    idrid_od=dict(
        type='PartialLabelDataset',
        name='idrid_od',
        img_dir='IDRiD-FOVCrop-padding/test/images',
        ann_dirs=dict(
            odoc=dict(
                path='IDRiD-FOVCrop-padding/test/OD',
                classes=['disc'],
                binary=True)),
        pipeline=test_pipeline))

# During training: validation splits, never the test sets. No vessel collection
# has one, so DRIVE's training images serve, which no training here uses.
val_sets = [
    dict(
        type='PartialLabelDataset',
        name='drive_train',
        img_dir='DRIVE-FOVCrop-padding/train/images',
        img_suffix='.tif',
        ann_dirs=dict(vessel='DRIVE-FOVCrop-padding/train/ann'),
        pipeline=test_pipeline),
    dict(
        type='PartialLabelDataset',
        name='ddr_val',
        img_dir='DDR-FOVCrop-padding/val/images',
        ann_dirs=dict(lesion='DDR-FOVCrop-padding/val/ann'),
        pipeline=test_pipeline),
    dict(
        type='PartialLabelDataset',
        name='refuge_val',
        img_dir='REFUGE-FOVCrop-padding/val/images',
        ann_dirs=dict(odoc='REFUGE-FOVCrop-padding/val/ann'),
        pipeline=test_pipeline)
]
data = dict(
    samples_per_gpu=1,  # images per dataset and GPU
    workers_per_gpu=4,
    train=dict(
        type='JointDataset',
        datasets=[reta, ddr, refuge],
        # a folder on a fast disk where decoded images are kept: several times
        # the images per second (docs/data_loading.md)
        cache_dir=None),
    val=dict(type='EvaluationSets', datasets=val_sets),
    test=test_sets['idrid'])
