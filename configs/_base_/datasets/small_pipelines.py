# The published pipelines at a quarter of the size, for generated photographs
# and machines without a GPU.
crop_size = (224, 224)
normalize = dict(
    type='Normalize',
    mean=[95.523, 57.776, 25.422],
    std=[58.273, 35.645, 16.790],
    to_rgb=True)
load = [
    dict(
        type='LoadRandomCrop',
        img_scale=(256, 256),
        ratio_range=(0.75, 1.5),
        crop_size=crop_size)
]
finish = [
    normalize,
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes')
]
train_pipeline = load + [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5),
    dict(
        type='RotateFromList',
        angles=[15, 11.25, 7.5, 3.75, 0, -3.75, -7.5, -11.25, -15])
] + finish
strong_pipeline = load + [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.0),
    dict(type='ColorJitter'),
    dict(type='RandomGrayscale'),
    dict(type='RandomGaussianBlur'),
    dict(type='CutOut')
] + finish
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(256, 256),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'), normalize,
            dict(type='ImageToTensor', keys=['img']),
            dict(type='CollectImage')
        ])
]
