_base_ = './schedule_60k_gan.py'
optimizer = dict(
    generator=dict(lr=5e-4),
    discriminators=dict(lr=2e-4),
    auxiliary_discriminators=dict(lr=2e-4))
lr_config = dict(warmup_iters=20)
runner = dict(max_iters=150)
checkpoint_config = dict(interval=75, max_keep_ckpts=2)
evaluation = dict(interval=10000)
