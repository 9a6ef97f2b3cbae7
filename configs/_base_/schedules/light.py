# AdamW at a constant learning rate, with averaged weights (EMA) in checkpoints
# and validation. The rate falls in the last quarter only, so a run may be
# made longer by runner.max_iters until then.
_base_ = './schedule_40k.py'
optimizer = dict(lr=5e-4)
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
runner = dict(max_iters=6000)
checkpoint_config = dict(interval=200, max_keep_ckpts=3)
evaluation = dict(interval=2000)
