# Quickstart, stage 2: adversarial, with pseudo labels, from stage 1's weights
# (--load-from), because a short run from scratch would not catch up.
_base_ = [
    '../_base_/datasets/quickstart_synthetic.py',
    '../_base_/models/small_cpu_xta_gan.py',
    '../_base_/schedules/small_cpu_gan.py', '../_base_/default_runtime.py'
]
data = dict(train=dict(datasets={{_base_.with_pseudo_labels}}))
# Published classifiers start at N(0, 0.01), which takes a narrow network from
# scratch hundreds of iterations to leave.
classifier = dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
model = dict(
    decode_head=dict(head=dict(init_cfg=classifier)),
    auxiliary_head=dict(head=dict(init_cfg=classifier)))
