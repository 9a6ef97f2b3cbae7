# Six collections that label one task each, or two of three (IDRiD), with
# validation splits of their training photographs (configs/light/splits).
# Scaled so that the field of view is 1152 pixels wide, where micro-aneurysms
# are 7 pixels wide; crops of 384. docs/light_network.md has the commands that
# prepare them and what the choices were worth.
data_root = 'data/FOVCrop-padding'
splits = '{{ fileDirname }}/../../light/splits'
img_scale = (1152, 1152)
crop_size = (384, 384)
# as the ImageNet weights of EfficientNet-Lite0 were trained
normalize = dict(
    type='Normalize', mean=[127.0] * 3, std=[128.0] * 3, to_rgb=True)


def load(ratio_range, **look_for):
    """A crop, often one that holds a rare label."""
    return dict(
        type='LoadRandomCrop',
        img_scale=img_scale,
        ratio_range=ratio_range,
        crop_size=crop_size,
        look_for=look_for)


finish = [
    normalize,
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes')
]
# Colours and tones of other cameras; eyes may be turned by any angle.
augment = [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5),
    dict(
        type='RotateFromList',
        angles=[0, 7.5, -7.5, 15, -15, 90, 82.5, 97.5, 75, 105]),
    dict(
        type='ColorJitter',
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=0.03),
    dict(type='RandomGamma', gamma=1.5, channel_gamma=1.2)
]
strong = [
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.5),
    dict(type='ColorJitter', hue=0.1),
    dict(type='RandomGamma', gamma=1.5, channel_gamma=1.2),
    dict(type='RandomGrayscale'),
    dict(type='RandomGaussianBlur'),
    dict(type='CutOut')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=img_scale,
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'), normalize,
            dict(type='ImageToTensor', keys=['img']),
            dict(type='CollectImage')
        ])
]
# Vessels of the same eye are twice as wide in a field of view of 30 degrees
# (CHASE_DB1) as in one of 60 (HRF); discs look the same at most scales.
lesion_crops = load((0.75, 1.35), lesion=0.7, odoc=0.1)
vessel_crops = load((0.7, 1.5))
disc_crops = load((0.5, 1.3), odoc=0.6)
train_pipeline = [vessel_crops, *augment, *finish]


def dataset(name, folder, split, pipeline, **ann_dirs):
    """Photographs of a collection's folder that a split names."""
    part = 'test' if split is None else 'train'
    dirs = {
        t: (dict(d, path=f'{folder}/{part}/{d["path"]}') if isinstance(
            d, dict) else f'{folder}/{part}/{d}')
        for t, d in ann_dirs.items()
    }
    found = dict(
        type='PartialLabelDataset',
        name=name,
        img_dir=f'{folder}/{part}/images',
        img_suffix=['.jpg', '.tif'],
        ann_dirs=dirs,
        fov_dir=f'{folder}/{part}/fov',
        pipeline=pipeline)
    if split is not None:
        found['split'] = f'{splits}/{split}.txt'
    return found


idrid, drive, drishti = [
    f'{name}-FOVCrop-padding' for name in ('IDRiD', 'DRIVE', 'Drishti-GS')
]
hrf, chase = 'HRF', 'CHASE_DB1'  # by prepare_dataset.folder
disc = dict(path='OD', classes=['disc'])  # cups are unknown

# Each step takes a photograph of each line; those in a list take turns.
# Thirty-two IDRiD photographs have vessel maps besides lesions and discs.
labelled = [
    dataset(
        'idrid',
        idrid,
        'idrid_vessel_train', [lesion_crops, *augment, *finish],
        vessel='vessel',
        lesion='ann',
        odoc=disc),
    dataset(
        'idrid',
        idrid,
        'idrid_no_vessel_train', [lesion_crops, *augment, *finish],
        lesion='ann',
        odoc=disc),
    [
        dataset(name, folder, f'{name}_train', train_pipeline, vessel=masks)
        for name, folder, masks in (('drive', drive, 'ann'),
                                    ('hrf', hrf, 'vessel'), ('chase_db1',
                                                             chase, 'vessel'))
    ],
    dataset(
        'drishti_gs',
        drishti,
        'drishti_gs_train', [disc_crops, *augment, *finish],
        odoc='ann')
]

# The same with eyes that have no lesions: the healthy ones of HRF and, as far
# as anyone labelled, those of Drishti-GS (prepare_dataset.background). DRIVE
# and CHASE_DB1 take as many turns as HRF's two parts together. Each dataset
# would count alike for lesions; these weights leave most to IDRiD.
much, little = dict(lesion=1.5), dict(lesion=0.5)
drive_turn, _, chase_turn = labelled[2]
with_healthy_eyes = [
    dict(labelled[0], weights=much),
    dict(labelled[1], weights=much),
    [
        drive_turn,
        dataset(
            'hrf', hrf, 'hrf_diseased_train', train_pipeline, vessel='vessel'),
        chase_turn,
        drive_turn,
        dict(
            dataset(
                'hrf',
                hrf,
                'hrf_healthy_train',
                train_pipeline,
                vessel='vessel',
                lesion='lesion'),
            weights=little),
        chase_turn,
    ],
    dict(
        dataset(
            'drishti_gs',
            drishti,
            'drishti_gs_train', [disc_crops, *augment, *finish],
            lesion='lesion',
            odoc='ann'),
        weights=little),
]


def pseudo(name, folder, split, crops, *tasks):
    """The same photographs with pseudo labels of the tasks they lack."""
    found = dataset(name, folder, split, [crops, *strong, *finish])
    found['pseudo_dirs'] = {t: f'{folder}/train/{t}_pseudo' for t in tasks}
    return found


# A further photograph a step; these collections take turns. Eyes of Drishti-GS
# are healthy or glaucomatous, so that lesions are left alone there.
with_pseudo_labels = labelled + [[
    pseudo('idrid', idrid, 'idrid_no_vessel_train', lesion_crops, 'vessel'),
    pseudo('drive', drive, 'drive_train', vessel_crops, 'lesion', 'odoc'),
    pseudo('hrf', hrf, 'hrf_train', vessel_crops, 'lesion', 'odoc'),
    pseudo('chase_db1', chase, 'chase_db1_train', vessel_crops, 'lesion',
           'odoc'),
    pseudo('drishti_gs', drishti, 'drishti_gs_train', disc_crops, 'vessel')
]]
validation = [
    dataset(
        'idrid', idrid, 'idrid_val', test_pipeline, lesion='ann', odoc=disc),
    dataset(
        'idrid_vessel',
        idrid,
        'idrid_vessel_val',
        test_pipeline,
        vessel='vessel'),
    dataset('drive', drive, 'drive_val', test_pipeline, vessel='ann'),
    dataset('hrf', hrf, 'hrf_val', test_pipeline, vessel='vessel'),
    dataset(
        'chase_db1', chase, 'chase_db1_val', test_pipeline, vessel='vessel'),
    dataset(
        'drishti_gs', drishti, 'drishti_gs_val', test_pipeline, odoc='ann')
]
# The validation photographs by name, for `mbos test --datasets drive_val`, and
# official test photographs, none of which is in the training folders.
test_sets = dict(
    **{f'{part["name"]}_val': part
       for part in validation},
    idrid=dataset(
        'idrid', idrid, None, test_pipeline, lesion='ann', odoc=disc),
    drive=dataset('drive', drive, None, test_pipeline, vessel='ann'),
    chase_db1=dataset(
        'chase_db1', chase, None, test_pipeline, vessel='vessel'),
    hrf=dataset('hrf', hrf, None, test_pipeline, vessel='vessel'),
    drishti_gs=dataset('drishti_gs', drishti, None, test_pipeline, odoc='ann'),
    stare=dict(
        type='PartialLabelDataset',
        name='stare',
        img_dir='STARE-FOVCrop-padding/images',
        ann_dirs=dict(vessel='STARE-FOVCrop-padding/ann'),
        fov_dir='STARE-FOVCrop-padding/fov',
        pipeline=test_pipeline))
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=0,  # the cores are busy with the network
    train=dict(type='JointDataset', datasets=labelled),
    val=validation,
    test=test_sets['idrid'])
