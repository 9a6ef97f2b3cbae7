# As stage 1: constant, and falling in the last quarter. It starts from stage
# 1's weights, so it is shorter.
_base_ = './schedule_60k_gan.py'
optimizer = dict(generator=dict(lr=2e-4))
optimizer_config = dict(grad_clip=dict(max_norm=5.0))
lr_config = dict(
    _delete_=True,
    policy='FlatCosineAnnealing',
    start_percent=0.75,
    min_lr_ratio=0.01,
    warmup='linear',
    warmup_iters=50,
    warmup_ratio=0.01,
    by_epoch=False)
runner = dict(max_iters=2000)
checkpoint_config = dict(interval=200, max_keep_ckpts=3)
evaluation = dict(interval=2000)
