# A network of one task.
_base_ = 'stage1.py'
model = dict(tasks=['lesion'])
data = dict(train=dict(datasets={{_base_.only_lesions}}))
