# The network for two CPU cores, from the weights of stage 1: validation
# photographs join the training, so none is left to score its result on.
_base_ = './light_stage1.py'
data = dict(train=dict(datasets={{_base_.everything}}))
load_from = 'work_dirs/light_stage1/latest.pth'
optimizer = dict(lr=3e-4)
lr_config = dict(start_percent=0.4)
runner = dict(max_iters=1400)
custom_hooks = [dict(type='EMAWeightsHook', momentum=0.003)]
