# The published network made small enough for two CPU cores, from scratch.
_base_ = './upernet_swin_tiny.py'
# Published classifiers start at N(0, 0.01), which takes a narrow network from
# scratch hundreds of iterations to leave.
classifier = dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
model = dict(
    pretrained=None,
    backbone=dict(
        embed_dims=32,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.0),
    decode_head=dict(
        head=dict(
            in_channels=[32, 64, 128, 256], channels=32, init_cfg=classifier),
        loss_decode=dict(mode='ce_dice')),
    auxiliary_head=dict(
        head=dict(in_channels=128, channels=32, init_cfg=classifier),
        loss_decode=dict(mode='ce_dice')))
