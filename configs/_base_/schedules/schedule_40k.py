# AdamW with linear warm-up, then poly decay to 0 over 40k iterations.
# No weight decay on LayerNorms, position embeddings and bias tables.
no_decay = dict(decay_mult=0.0)
optimizer = dict(
    type='AdamW',
    lr=6e-5,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=no_decay,
            relative_position_bias_table=no_decay,
            norm=no_decay)))
optimizer_config = dict(type='GradientStepHook')
lr_config = dict(
    policy='poly',
    warmup='linear',
    warmup_iters=1500,
    warmup_ratio=1e-6,
    power=1.0,
    min_lr=0.0,
    by_epoch=False)
runner = dict(type='CheckedIterRunner', max_iters=40000)
checkpoint_config = dict(type='SubfolderCheckpointHook', interval=4000)
# on data.val; mDice is the mean over tasks of Dice
evaluation = dict(
    interval=4000,
    metric='mIoU',
    pre_eval=True,
    save_best='mDice',
    rule='greater')
