# Real photographs: DRIVE labels vessels, IDRiD lesions, Drishti-GS disc and
# cup. The vessels and discs of some IDRiD photographs are known but hidden
# from training; the hidden_* sets score them.
_base_ = './small_pipelines_512.py'
data_root = 'work_dirs/quickstart/real/data'


def dataset(name, folder, pipeline, **ann_dirs):
    """Images of a folder with the ground truth beside them."""
    return dict(
        type='PartialLabelDataset',
        name=name,
        img_dir=f'{folder}/images',
        img_suffix=['.jpg', '.tif'],
        ann_dirs={
            t: f'{folder}/{sub}'
            for t, sub in ann_dirs.items()
        },
        pipeline=pipeline)


def pseudo(name, folder, pipeline, **pseudo_dirs):
    """The same images with the pseudo labels of other tasks."""
    cfg = dataset(name, folder, pipeline)
    cfg['pseudo_dirs'] = {t: f'{folder}/{s}' for t, s in pseudo_dirs.items()}
    return cfg


train, strong = {{_base_.train_pipeline}}, {{_base_.strong_pipeline}}
test = {{_base_.test_pipeline}}
drive, idrid = 'DRIVE-FOVCrop-padding', 'IDRiD-FOVCrop-padding'
drishti = 'Drishti-GS-FOVCrop-padding'

labels = dict(
    vessel=dataset('drive', f'{drive}/train', train, vessel='ann'),
    lesion=dataset('idrid', f'{idrid}/train', train, lesion='ann'),
    odoc=dataset('drishti', f'{drishti}/train', train, odoc='ann'))
labelled = list(labels.values())
with_pseudo_labels = labelled + [
    # healthy or glaucomatous eyes (Drishti-GS), so no lesions there
    pseudo('drive', f'{drive}/train', strong, odoc='drive_ODOC_pseudo'),
    pseudo(
        'idrid',
        f'{idrid}/train',
        strong,
        vessel='idrid_vessel_pseudo',
        odoc='idrid_ODOC_pseudo'),
    pseudo(
        'drishti', f'{drishti}/train', strong, vessel='drishti_vessel_pseudo')
]
idrid_od = dataset('idrid_od', f'{idrid}/test', test, odoc='OD')
hidden_disc = dataset('hidden_idrid_disc', f'{idrid}/hidden', test, odoc='OD')
for disc_only in (idrid_od, hidden_disc):
    disc_only['ann_dirs']['odoc'] = dict(
        path=disc_only['ann_dirs']['odoc'], classes=['disc'])
test_sets = dict(
    drive=dataset('drive', f'{drive}/test', test, vessel='ann'),
    idrid=dataset('idrid', f'{idrid}/test', test, lesion='ann'),
    drishti=dataset('drishti', f'{drishti}/test', test, odoc='ann'),
    idrid_od=idrid_od,
    hidden_idrid_vessel=dataset(
        'hidden_idrid_vessel', f'{idrid}/hidden', test, vessel='vessel'),
    hidden_idrid_disc=hidden_disc)
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=0,  # the cores are busy with the network
    train=dict(type='JointDataset', datasets=labelled),
    test=test_sets['drive'])
