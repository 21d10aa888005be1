"""Videos that begin with one image and end with another."""

from vidu_relay.domain.catalogue import ImageRules, Model, Offer, Parameter, When
from vidu_relay.domain.models import parameters as p

__all__ = ["MODELS"]

IMAGES = ImageRules(pair=(0.8, 1.25))


def _at_gateway(model: str, most: int, seconds: Parameter, **more: Parameter) -> Offer:
    return Offer(
        model=model,
        parameters={
            "images": p.frames(2),
            "prompt": p.prompt(most, required=False),
            "is_rec": p.RECOMMENDED,
            "duration": seconds,
            "seed": p.SEED,
            "resolution": p.SD,
            **more,
        },
        images=IMAGES,
        evidence="core of page",
        unseen=("callback_url",),
        source=f"https://doc.vtrix.ai/docs/api/vidu/{model.replace('_', '-')}",
        read_on="2026-11-29",
    )


def _at_vidu(
    model: str, seconds: Parameter, resolution: Parameter = p.SD, *, audio: bool = False, rules: tuple[When, ...] = ()
) -> Offer:
    return Offer(
        model=model,
        path="start-end2video",
        cancel=True,
        parameters={
            "images": p.frames(2),
            "prompt": p.prompt(5000, required=False),
            "is_rec": p.RECOMMENDED,
            "duration": seconds,
            "seed": p.SEED,
            "resolution": resolution,
            "movement_amplitude": p.MOVEMENT,
            **({"audio": p.AUDIO_ON} if audio else {}),
            "bgm": p.BGM,
            **p.TAIL,
        },
        rules=(p.OFF_PEAK_WITH_SOUND,) if audio else rules,
        images=IMAGES,
        evidence="copy of page",
        source=p.COPY[0],
        read_on=p.COPY[1],
    )


MODELS = (
    Model(
        "viduq3_pro_start_end2video",
        "start-end2video",
        {
            "gateway": _at_gateway(
                "viduq3_pro_start_end2video", 5000, p.seconds(1, 16), audio=p.AUDIO_ON, payload=p.PAYLOAD
            ),
            "vidu": _at_vidu("viduq3-pro", p.seconds(1, 16), audio=True),
        },
    ),
    Model(
        "viduq3_turbo_start_end2video",
        "start-end2video",
        {
            "gateway": _at_gateway(
                "viduq3_turbo_start_end2video",
                5000,
                p.seconds(1, 16),
                audio=p.AUDIO_ON,
                payload=p.PAYLOAD,
                off_peak=p.TAIL["off_peak"],
            ),
            "vidu": _at_vidu("viduq3-turbo", p.seconds(1, 16), audio=True),
        },
    ),
    Model(
        "viduq2_pro_start_end2video",
        "start-end2video",
        {
            "gateway": _at_gateway("viduq2_pro_start_end2video", 2000, p.seconds(1, 8)),
            "vidu": _at_vidu("viduq2-pro", p.seconds(1, 8)),
        },
    ),
    Model(
        "viduq2_turbo_start_end2video",
        "start-end2video",
        {"vidu": _at_vidu("viduq2-turbo", p.seconds(1, 8))},
    ),
    Model(
        "viduq2_pro_fast_start_end2video",
        "start-end2video",
        {"vidu": _at_vidu("viduq2-pro-fast", p.seconds(1, 8), p.HD)},
    ),
    Model(
        "viduq1_start_end2video",
        "start-end2video",
        {"vidu": _at_vidu("viduq1", p.FIVE_SECONDS, p.FULL_HD)},
    ),
    Model(
        "vidu20_start_end2video",
        "start-end2video",
        {"vidu": _at_vidu("vidu2.0", p.FOUR_OR_EIGHT, p.BY_DURATION, rules=(p.EIGHT_IS_720P,))},
    ),
)
