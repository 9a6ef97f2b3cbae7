# From scratch on CPU: larger steps and a short warm-up.
_base_ = './schedule_40k.py'
optimizer = dict(lr=1e-3)
lr_config = dict(warmup_iters=50)
runner = dict(max_iters=700)
checkpoint_config = dict(interval=200, max_keep_ckpts=2)
evaluation = dict(interval=10000)  # the quickstart evaluates at the end
