# Stage 2 of the light network. At the decoders' stride of 2, attention between
# tasks and discriminators would take most of a step: they see averages of 4x4
# and 2x2 pixels.
_base_ = './light.py'
model = dict(
    type='AdversarialSegmentor',
    decode_head=dict(
        cross_task_attention=dict(
            num_heads=4,
            window_size=8,
            share_block=True,
            downscale=4,
            feedforward_ratio=2)),
    discriminator=dict(
        type='PatchDiscriminator', channels=16, num_convs=4, downscale=2),
    adversarial_weights=dict(decode=0.1, aux=0.02),
    pseudo_weight=0.05)
