# The network for two CPU cores, stage 1: every photograph is supervised by the
# labels it has.
_base_ = [
    '../_base_/datasets/fundus_light.py', '../_base_/models/light.py',
    '../_base_/schedules/light.py', '../_base_/default_runtime.py'
]
custom_hooks = [
    dict(type='EMAWeightsHook', momentum=0.001),
    dict(type='EvaluationOverlayHook', samples=2)
]
