# Stage 2 as published: from ImageNet's weights, with cross-task attention,
# discriminators and pseudo labels of a threshold of 0.5 and a weight of 0.05.
_base_ = [
    '../_base_/datasets/fundus_hidden.py', '../_base_/models/light_xta_gan.py',
    '../_base_/schedules/light_gan.py', '../_base_/default_runtime.py'
]
data = dict(train=dict(datasets={{_base_.published}}))
optimizer = dict(generator=dict(lr=5e-4))
runner = dict(max_iters=300)
custom_hooks = [dict(type='EMAWeightsHook', momentum=0.005)]
