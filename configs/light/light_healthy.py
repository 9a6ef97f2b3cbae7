# The network for two CPU cores, from the weights of stage 1: healthy eyes are
# lesion-free truth, so that it marks fewer lesions where there are none.
_base_ = './light_stage1.py'
data = dict(train=dict(datasets={{_base_.with_healthy_eyes}}))
load_from = 'work_dirs/light_stage1/latest.pth'
optimizer = dict(lr=3e-4)
lr_config = dict(start_percent=0.5)
runner = dict(max_iters=1200)
