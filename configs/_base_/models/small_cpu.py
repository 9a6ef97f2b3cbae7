# The published network made small enough for two CPU cores, from scratch.
_base_ = './upernet_swin_tiny.py'
model = dict(
    pretrained=None,
    backbone=dict(
        embed_dims=32,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.0),
    decode_head=dict(
        head=dict(in_channels=[32, 64, 128, 256], channels=32),
        loss_decode=dict(mode='ce_dice')),
    auxiliary_head=dict(
        head=dict(in_channels=128, channels=32),
        loss_decode=dict(mode='ce_dice')))
