# Generator as in stage 1; both groups of discriminators with Adam. All follow
# the same warm-up and decay. Checkpoints go into <work dir>/ckpt.
_base_ = './schedule_60k.py'
no_decay = dict(decay_mult=0.0)
optimizer = dict(
    _delete_=True,
    constructor='NamedOptimizersConstructor',
    generator=dict(
        type='AdamW',
        lr=6e-5,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        paramwise_cfg=dict(
            custom_keys=dict(
                absolute_pos_embed=no_decay,
                relative_position_bias_table=no_decay,
                norm=no_decay))),
    discriminators=dict(type='Adam', lr=2e-4, betas=(0.9, 0.99)),
    auxiliary_discriminators=dict(type='Adam', lr=2e-4, betas=(0.9, 0.99)))
checkpoint_config = dict(subfolder='ckpt')
