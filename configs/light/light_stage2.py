# The network for two CPU cores, stage 2: cross-task attention, discriminators
# and pseudo labels, from the weights of stage 1.
_base_ = [
    '../_base_/datasets/fundus_light.py', '../_base_/models/light_xta_gan.py',
    '../_base_/schedules/light_gan.py', '../_base_/default_runtime.py'
]
data = dict(train=dict(datasets={{_base_.with_pseudo_labels}}))
load_from = 'work_dirs/light_stage1/latest.pth'
custom_hooks = [
    dict(type='EMAWeightsHook', momentum=0.001),
    dict(type='EvaluationOverlayHook', samples=2)
]
