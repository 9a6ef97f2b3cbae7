# Stage 2: the same network with cross-task attention (xTA), retrained
# adversarially with pseudo labels.
_base_ = './upernet_swin_tiny.py'
model = dict(
    type='AdversarialSegmentor',
    decode_head=dict(
        cross_task_attention=dict(
            num_heads=4, window_size=16, share_block=True)),
    discriminator=dict(type='PatchDiscriminator', channels=64),
    adversarial_weights=dict(decode=0.1, aux=0.02),
    pseudo_weight=0.05)
