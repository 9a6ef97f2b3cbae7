# Three collections that label one task each: lesions of IDRiD, vessels of
# DRIVE, discs and cups of Drishti-GS. IDRiD's vessels and discs are hidden
# from training, so they show how a network labels what nobody has labelled in
# a camera's photographs. Small: fields of view of 768 pixels, crops of 256.
folders = 'data/FOVCrop-padding'
splits = '{{ fileDirname }}/../../light/splits'
img_scale = (768, 768)
crop_size = (256, 256)
normalize = dict(
    type='Normalize', mean=[127.0] * 3, std=[128.0] * 3, to_rgb=True)
augment = [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5),
    dict(
        type='ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.03),
    dict(type='RandomGamma', gamma=1.5, channel_gamma=1.2), normalize,
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=img_scale,
        flip=False,
        flip_direction=['horizontal', 'vertical'],
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'), normalize,
            dict(type='ImageToTensor', keys=['img']),
            dict(type='CollectImage')
        ])
]


def photographs(collection, split, pipeline, **planes):
    """Those of a collection's training folder that a list names."""
    folder = f'{folders}/{collection}-FOVCrop-padding/train'
    return dict(
        type='PartialLabelDataset',
        name=collection.lower(),
        img_dir=f'{folder}/images',
        img_suffix=['.jpg', '.tif'],
        fov_dir=f'{folder}/fov',
        split=split,
        pipeline=pipeline,
        **{
            kind: {
                task:
                f'{folder}/{path}' if isinstance(path, str) else dict(
                    path, path=f'{folder}/{path["path"]}')
                for task, path in paths.items()
            }
            for kind, paths in planes.items()
        })


def training(collection, split, ratio_range, look_for, **planes):
    """Random crops, often such as hold a rare label."""
    crops = dict(
        type='LoadRandomCrop',
        img_scale=img_scale,
        ratio_range=ratio_range,
        crop_size=crop_size,
        look_for=look_for)
    return photographs(collection, f'{splits}/{split}_train.txt',
                       [crops, *augment], **planes)


IDRID = 'IDRiD', 'idrid', (0.75, 1.35), dict(lesion=0.7)
DRIVE = 'DRIVE', 'drive', (0.7, 1.5), dict()
DRISHTI = 'Drishti-GS', 'drishti_gs', (0.5, 1.3), dict(odoc=0.6)
lesions, vessels, discs = [
    dict(ann_dirs={task: 'ann'}) for task in ('lesion', 'vessel', 'odoc')
]
pseudo_vessels = dict(vessel='vessel_pseudo')
pseudo_discs = dict(odoc='odoc_pseudo')
labelled = [
    training(*IDRID, **lesions),
    training(*DRIVE, **vessels),
    training(*DRISHTI, **discs)
]
# networks of one task
only_lesions, only_vessels, only_discs = [[part] for part in labelled]
# as published: pseudo labels are on further photographs of each step
published = labelled + [[
    training(*IDRID, pseudo_dirs=dict(**pseudo_vessels, **pseudo_discs)),
    training(*DRISHTI, pseudo_dirs=pseudo_vessels)
]]
# on the labelled photographs themselves: no further ones
on_labelled = [
    training(
        *IDRID, **lesions, pseudo_dirs=dict(**pseudo_vessels, **pseudo_discs)),
    labelled[1],
    training(*DRISHTI, **discs, pseudo_dirs=pseudo_vessels)
]
# What is scored. All maps and discs of IDRiD are hidden from training.
test_sets = dict(
    idrid_vessels=photographs(
        'IDRiD',
        f'{splits}/idrid_vessel.txt',
        test_pipeline,
        ann_dirs=dict(vessel='vessel')),
    idrid_discs=photographs(
        'IDRiD',
        None,
        test_pipeline,
        ann_dirs=dict(odoc=dict(path='OD', classes=['disc']))),
    idrid_lesions=photographs('IDRiD', f'{splits}/idrid_val.txt',
                              test_pipeline, **lesions),
    drive=photographs('DRIVE', f'{splits}/drive_val.txt', test_pipeline,
                      **vessels),
    drishti_gs=photographs('Drishti-GS', f'{splits}/drishti_gs_val.txt',
                           test_pipeline, **discs))
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=0,
    train=dict(type='JointDataset', datasets=labelled),
    val=test_sets['drive'],
    test=test_sets['drive'])
