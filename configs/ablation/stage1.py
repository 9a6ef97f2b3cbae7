# Stage 1 on what the three collections label.
_base_ = [
    '../_base_/datasets/fundus_hidden.py', '../_base_/models/light.py',
    '../_base_/schedules/light.py', '../_base_/default_runtime.py'
]
runner = dict(max_iters=600)
custom_hooks = [dict(type='EMAWeightsHook', momentum=0.005)]
