# Pseudo labels alone, from the weights of stage 1: on the labelled photographs
# themselves, with the weight of ground truth, without uncertain pixels.
_base_ = [
    '../_base_/datasets/fundus_hidden.py', '../_base_/models/light.py',
    '../_base_/schedules/light.py', '../_base_/default_runtime.py'
]
model = dict(type='AdversarialSegmentor', pseudo_weight=1.0)
data = dict(train=dict(datasets={{_base_.on_labelled}}))
load_from = 'work_dirs/half/latest.pth'
runner = dict(max_iters=300)
custom_hooks = [dict(type='EMAWeightsHook', momentum=0.005)]
