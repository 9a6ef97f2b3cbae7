# Quickstart, stage 2: adversarial, with pseudo labels, from stage 1's weights
# (--load-from), because a short run from scratch would not catch up.
_base_ = [
    '../_base_/datasets/quickstart_real.py',
    '../_base_/models/small_cpu_xta_gan.py',
    '../_base_/schedules/small_cpu_gan.py', '../_base_/default_runtime.py'
]
data = dict(train=dict(datasets={{_base_.with_pseudo_labels}}))
runner = dict(max_iters=300)
