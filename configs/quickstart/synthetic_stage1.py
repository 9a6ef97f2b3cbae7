# Quickstart, stage 1: a small network on two CPU cores.
_base_ = [
    '../_base_/datasets/quickstart_synthetic.py',
    '../_base_/models/small_cpu.py', '../_base_/schedules/small_cpu.py',
    '../_base_/default_runtime.py'
]
