# A network of one task.
_base_ = 'stage1.py'
model = dict(tasks=['odoc'])
data = dict(train=dict(datasets={{_base_.only_discs}}))
