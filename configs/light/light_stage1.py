# The network for two CPU cores, stage 1: every photograph is supervised by the
# labels it has.
_base_ = [
    '../_base_/datasets/fundus_light.py', '../_base_/models/light.py',
    '../_base_/schedules/light.py', '../_base_/default_runtime.py'
]
custom_hooks = [
    dict(type='EMAWeightsHook', momentum=0.001),
    dict(type='EvaluationOverlayHook', samples=2)
]
# Of the network after 6000 iterations: thresholds of the best Dice over the
# validation photographs, each counted by shares of its field of view; rules by
# benchmarks/label_maps.py. They travel in checkpoints.
prediction = dict(
    thresholds=dict(
        vessel=0.44,
        lesion=dict(EX=0.43, HE=0.58, SE=0.39, MA=0.605),
        odoc=dict(disc=0.855, cup=0.925)),
    postprocessing=dict(
        rim=0.0, one_object=['odoc'], specks=dict(vessel=3e-6, lesion=3e-6)))
