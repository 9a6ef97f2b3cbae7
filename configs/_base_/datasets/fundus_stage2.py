# Stage 2: the labelled images as in stage 1, and strongly augmented images
# with the pseudo labels of what each dataset leaves out
# (tools/generate_pseudo_labels.py writes their folders).
_base_ = './fundus_stage1.py'
crop_size = (512, 512)

strong_pipeline = [
    dict(
        type='LoadRandomCrop',
        img_scale=(1024, 1024),
        ratio_range=(0.5, 2.0),
        crop_size=crop_size),
    dict(type='IndependentFlip', prob_horizontal=0.5, prob_vertical=0.0),
    dict(type='ColorJitter'),
    dict(type='RandomGrayscale'),
    dict(type='RandomGaussianBlur'),
    dict(type='CutOut'), {{_base_.normalize}},
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='FormatPlanes')
]
reta_pseudo = dict(
    type='PartialLabelDataset',
    name='reta',
    img_dir='RETA/train/images',
    pseudo_dirs=dict(
        lesion='RETA/train/idrid_lesion_pseudo',
        odoc='RETA/train/idrid_ODOC_pseudo'),
    weights=dict(lesion=2.0),
    pipeline=strong_pipeline)
ddr_pseudo = dict(
    type='PartialLabelDataset',
    name='ddr',
    img_dir='DDR-FOVCrop-padding/train/images',
    pseudo_dirs=dict(
        vessel='DDR-FOVCrop-padding/train/ddr_vessel_pseudo',
        odoc='DDR-FOVCrop-padding/train/ddr_ODOC_pseudo'),
    pipeline=strong_pipeline)
# Healthy or glaucomatous eyes: lesions are left alone.
refuge_pseudo = dict(
    type='PartialLabelDataset',
    name='refuge',
    img_dir='REFUGE-FOVCrop-padding/train/images',
    pseudo_dirs=dict(vessel='REFUGE-FOVCrop-padding/train/'
                     'refuge_vessel_pseudo'),
    pipeline=strong_pipeline)
data = dict(
    train=dict(datasets=[{{_base_.reta}}, {{_base_.ddr}}, {{_base_.refuge}},
                         reta_pseudo, ddr_pseudo, refuge_pseudo]),
    test=dict(
        name='refuge',
        img_dir='REFUGE-FOVCrop-padding/test/images',
        ann_dirs=dict(_delete_=True, odoc='REFUGE-FOVCrop-padding/test/ann')))
