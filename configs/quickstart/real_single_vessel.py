# A network for one task alone, to compare with: sees one collection only.
_base_ = './real_stage1.py'
model = dict(tasks=['vessel'])
data = dict(train=dict(datasets=[{{_base_.labels.vessel}}]))
