# Quickstart, stage 1: a small network on two CPU cores.
_base_ = [
    '../_base_/datasets/quickstart_synthetic.py',
    '../_base_/models/small_cpu.py', '../_base_/schedules/small_cpu.py',
    '../_base_/default_runtime.py'
]
# Published classifiers start at N(0, 0.01), which takes a narrow network from
# scratch hundreds of iterations to leave.
classifier = dict(type='Normal', std=0.1, override=dict(name='conv_seg'))
model = dict(
    decode_head=dict(head=dict(init_cfg=classifier)),
    auxiliary_head=dict(head=dict(init_cfg=classifier)))
