# Swin-T backbone, one UPerNet decoder and one auxiliary FCN per task
# (paper section 3, stage 1; docs/method.md, section 2).
norm_cfg = dict(type='GN', num_groups=1)  # one group per task's decoder
model = dict(
    type='MultiTaskSegmentor',
    tasks=['vessel', 'lesion', 'odoc'],
    pretrained='pretrain/swin_tiny_patch4_window7_224.pth',
    backbone=dict(
        type='SwinTransformer',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3),
    decode_head=dict(
        type='MultiTaskHead',
        head=dict(
            type='UPerHead',
            in_channels=[96, 192, 384, 768],
            in_index=[0, 1, 2, 3],
            pool_scales=(1, 2, 3, 6),
            channels=128,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False),
        loss_decode=dict(type='BinaryLoss', mode='dice', loss_weight=1.0)),
    auxiliary_head=dict(
        type='MultiTaskHead',
        head=dict(
            type='FCNHead',
            in_channels=384,
            in_index=2,
            channels=128,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.1,
            norm_cfg=norm_cfg,
            align_corners=False),
        loss_decode=dict(type='BinaryLoss', mode='dice', loss_weight=0.4)),
    # images that go through the network together: memory, not results
    # low_memory: activations are computed again rather than kept
    train_cfg=dict(images_per_pass='auto', low_memory=False),
    test_cfg=dict(mode='whole'))
