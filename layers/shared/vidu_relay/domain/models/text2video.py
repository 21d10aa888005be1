"""Videos from a prompt alone."""

from vidu_relay.domain.catalogue import Model, Offer, Parameter
from vidu_relay.domain.models import parameters as p

__all__ = ["MODELS"]


def _at_gateway(model: str, most: int, **more: Parameter) -> Offer:
    return Offer(
        model=model,
        parameters={"prompt": p.prompt(most), **more},
        evidence="core of page",
        unseen=("callback_url",),
        source=f"https://doc.vtrix.ai/docs/api/vidu/{model.replace('_', '-')}",
        read_on="2026-11-29",
    )


def _at_vidu(model: str, seconds: Parameter, resolution: Parameter, ratio: Parameter, *, audio: bool) -> Offer:
    return Offer(
        model=model,
        path="text2video",
        cancel=True,
        parameters={
            "prompt": p.prompt(5000),
            "style": p.STYLE,
            "duration": seconds,
            "seed": p.SEED,
            "aspect_ratio": ratio,
            "resolution": resolution,
            "movement_amplitude": p.MOVEMENT,
            "bgm": p.BGM,
            **({"audio": p.AUDIO_ON} if audio else {}),
            **p.TAIL,
        },
        rules=(p.OFF_PEAK_WITH_SOUND,) if audio else (),
        evidence="copy of page",
        source=p.COPY[0],
        read_on=p.COPY[1],
    )


MODELS = (
    Model(
        "viduq3_turbo_text2video",
        "text2video",
        {
            "gateway": _at_gateway(
                "viduq3_turbo_text2video",
                5000,
                duration=p.seconds(1, 16),
                seed=p.SEED,
                aspect_ratio=p.RATIOS,
                resolution=p.SD,
                audio=p.AUDIO_ON,
                **p.TAIL,
            ),
            "vidu": _at_vidu("viduq3-turbo", p.seconds(1, 16), p.SD, p.RATIOS, audio=True),
        },
    ),
    Model(
        "viduq3_pro_text2video",
        "text2video",
        {"vidu": _at_vidu("viduq3-pro", p.seconds(1, 16), p.SD, p.RATIOS, audio=True)},
    ),
    Model(
        "viduq2_text2video",
        "text2video",
        {
            "gateway": _at_gateway(
                "viduq2_text2video",
                2000,
                duration=p.seconds(1, 10),
                seed=p.SEED,
                aspect_ratio=p.RATIOS,
                resolution=p.SD,
                bgm=p.BGM,
                payload=p.PAYLOAD,
                off_peak=p.TAIL["off_peak"],
                watermark=p.TAIL["watermark"],
            ),
            "vidu": _at_vidu("viduq2", p.seconds(1, 10), p.SD, p.RATIOS, audio=False),
        },
    ),
    Model(
        "viduq2_pro_fast_text2video",
        "text2video",
        {
            "gateway": _at_gateway(
                "viduq2_pro_fast_text2video",
                2000,
                duration=p.seconds(1, 8),
                seed=p.SEED,
                aspect_ratio=p.RATIOS,
                resolution=p.HD,
                bgm=p.BGM,
                payload=p.PAYLOAD,
                off_peak=p.TAIL["off_peak"],
                watermark=p.TAIL["watermark"],
            )
        },
        "The vidu API lists no such model for text2video.",
    ),
    Model(
        "viduq1_text2video",
        "text2video",
        {
            "gateway": _at_gateway(
                "viduq1_text2video",
                2000,
                style=p.STYLE,
                duration=p.FIVE_SECONDS,
                seed=p.SEED,
                aspect_ratio=p.SQUARE_RATIOS,
                resolution=p.FULL_HD,
                movement_amplitude=p.MOVEMENT,
                bgm=p.BGM,
                payload=p.PAYLOAD,
                off_peak=p.TAIL["off_peak"],
            ),
            "vidu": _at_vidu("viduq1", p.FIVE_SECONDS, p.FULL_HD, p.SQUARE_RATIOS, audio=False),
        },
    ),
)
