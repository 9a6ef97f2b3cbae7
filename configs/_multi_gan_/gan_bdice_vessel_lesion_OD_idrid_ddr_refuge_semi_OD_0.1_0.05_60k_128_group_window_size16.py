# Stage 2, adversarial retraining with pseudo labels, as published: weights 0.1
# for the adversarial terms and 0.05 for the pseudo labels.
_base_ = [
    # stage 1's images, and the same strongly augmented with pseudo labels
    '../_base_/datasets/fundus_stage2.py',
    # stage 1's network with cross-task attention, and discriminators
    '../_base_/models/upernet_swin_tiny_xta_gan.py',
    # AdamW and Adam, warm-up, poly decay, 60k iterations
    '../_base_/schedules/schedule_60k_gan.py',
    # logs, imports
    '../_base_/default_runtime.py'
]
