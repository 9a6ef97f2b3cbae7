# The same from the weights of stage 1.
_base_ = 'stage2_published.py'
load_from = 'work_dirs/half/latest.pth'
