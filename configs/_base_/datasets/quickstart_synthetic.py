# Generated photographs: RETA labels vessels, DDR lesions, REFUGE disc and cup.
# The hidden_* sets score tasks on collections that never labelled them.
_base_ = './small_pipelines.py'
data_root = 'work_dirs/quickstart/synthetic/data'


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


def pseudo(name, folder, pipeline, weights=None, **pseudo_dirs):
    """The same images with the pseudo labels of other tasks."""
    cfg = dataset(name, folder, pipeline)
    cfg['pseudo_dirs'] = {t: f'{folder}/{s}' for t, s in pseudo_dirs.items()}
    cfg['weights'] = weights
    return cfg


train, strong = {{_base_.train_pipeline}}, {{_base_.strong_pipeline}}
test = {{_base_.test_pipeline}}
ddr, refuge = 'DDR-FOVCrop-padding', 'REFUGE-FOVCrop-padding'
drive, idrid = 'DRIVE-FOVCrop-padding', 'IDRiD-FOVCrop-padding'

labelled = [
    dataset('reta', 'RETA/train', train, vessel='ann'),
    dataset('ddr', f'{ddr}/train', train, lesion='ann'),
    dataset('refuge', f'{refuge}/train', train, odoc='ann')
]
with_pseudo_labels = labelled + [
    pseudo(
        'reta',
        'RETA/train',
        strong,
        weights=dict(lesion=2.0),
        lesion='idrid_lesion_pseudo',
        odoc='idrid_ODOC_pseudo'),
    pseudo(
        'ddr',
        f'{ddr}/train',
        strong,
        vessel='ddr_vessel_pseudo',
        odoc='ddr_ODOC_pseudo'),
    pseudo('refuge', f'{refuge}/train', strong, vessel='refuge_vessel_pseudo')
]
idrid_od = dataset('idrid_od', f'{idrid}/test', test, odoc='OD')
idrid_od['ann_dirs']['odoc'] = dict(
    path=idrid_od['ann_dirs']['odoc'], classes=['disc'])
test_sets = dict(
    drive=dataset('drive', f'{drive}/test', test, vessel='ann'),
    ddr=dataset('ddr', f'{ddr}/test', test, lesion='ann'),
    idrid=dataset('idrid', f'{idrid}/test', test, lesion='ann'),
    refuge=dataset('refuge', f'{refuge}/test', test, odoc='ann'),
    idrid_od=idrid_od,
    hidden_drive=dataset(
        'hidden_drive', f'{drive}/test', test, odoc='hidden/odoc'),
    hidden_ddr=dataset(
        'hidden_ddr',
        f'{ddr}/test',
        test,
        vessel='hidden/vessel',
        odoc='hidden/odoc'),
    hidden_refuge=dataset(
        'hidden_refuge', f'{refuge}/test', test, vessel='hidden/vessel'),
    hidden_idrid=dataset(
        'hidden_idrid', f'{idrid}/test', test, vessel='hidden/vessel'))
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=0,  # the cores are busy with the network
    train=dict(type='JointDataset', datasets=labelled),
    val=dict(
        type='EvaluationSets',
        datasets=[
            dataset('ddr_val', f'{ddr}/val', test, lesion='ann'),
            dataset('refuge_val', f'{refuge}/val', test, odoc='ann')
        ]),
    test=test_sets['idrid'])
