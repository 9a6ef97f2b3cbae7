# Stage 1, the pseudo-label generator, as published.
_base_ = [
    # RETA, DDR, REFUGE; 512x512 crops
    '../_base_/datasets/fundus_stage1.py',
    # Swin-T backbone, a UPerNet decoder per task
    '../_base_/models/upernet_swin_tiny.py',
    # AdamW, warm-up, poly decay, 60k iterations
    '../_base_/schedules/schedule_60k.py',
    # logs, imports
    '../_base_/default_runtime.py'
]
