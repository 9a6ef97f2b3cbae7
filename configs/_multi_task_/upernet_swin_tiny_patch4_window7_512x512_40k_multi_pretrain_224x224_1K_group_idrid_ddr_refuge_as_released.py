# The published config with all of the release's behaviour that differs from
# the paper's intention (docs/as_released.md says what and why).
from mbos.datasets.as_released import published_data

_base_ = ('./upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
          'pretrain_224x224_1K_group_idrid_ddr_refuge.py')

# 255 counts as background in the loss; dropout drops whole tasks
model = dict(
    decode_head=dict(
        drop_whole_tasks=True, loss_decode=dict(ignore_index=None)),
    auxiliary_head=dict(
        drop_whole_tasks=True, loss_decode=dict(ignore_index=None)))

# validation is on the test splits, so it chooses no checkpoint
evaluation = dict(save_best=None)

published = published_data(
    '{{ fileDirname }}/upernet_swin_tiny_patch4_window7_512x512_40k_multi_'
    'pretrain_224x224_1K_group_idrid_ddr_refuge.py',
    arguments=dict(
        # labels are padded with background
        Pad=dict(seg_pad_val=0),
        # 255 counts in the metrics
        PartialLabelDataset=dict(ignore_index=None)),
    labelled_arguments=dict(
        # two flips that undo each other
        IndependentFlip=dict(prob_horizontal=0.0, prob_vertical=0.0)),
    # the rows that REFUGE's training images are padded with, 34 of 2124 above
    # and below, are labelled cup
    border=dict(task='odoc', label=2, top=34, bottom=34, height=2124),
    # validation on the test splits
    val=('drive', 'stare', 'ddr', 'refuge'))
data = published.pop('data')
test_sets = published.pop('test_sets')
del published
