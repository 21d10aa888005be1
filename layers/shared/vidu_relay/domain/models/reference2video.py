"""Videos of subjects that reference images show."""

from dataclasses import replace

from vidu_relay.domain.catalogue import GIVEN, Either, ImageRules, Model, Offer, Parameter, When
from vidu_relay.domain.image_format import MIN_IMAGE_PIXELS
from vidu_relay.domain.models import parameters as p

__all__ = ["MODELS"]

SUBJECTS = Parameter(type="subjects", required=True, least=1, most=7, about="what the prompt mentions as @id")
IMAGES = ImageRules(least_pixels=MIN_IMAGE_PIXELS)

SEED_MODEL = Model(
    "viduq2_pro_fast_reference2video",
    "reference2video",
    {
        "gateway": Offer(
            model="viduq2_pro_fast_reference2video",
            parameters={
                "subjects": replace(SUBJECTS, required=False, code="008017003"),
                "images": Parameter(type="images", least=1, most=7, code="008017003", about="references"),
                "prompt": p.prompt(2000),
                "audio": p.AUDIO_OFF,
                "duration": p.seconds(1, 8),
                "seed": p.SEED,
                "aspect_ratio": p.ANY_RATIO,
                "resolution": p.HD,
                **p.TAIL,
            },
            rules=(
                When(
                    {"audio": True},
                    {"subjects": (GIVEN,)},
                    "subjects",
                    "When audio=true, subjects parameter is required",
                    "008017001",
                ),
                Either(
                    "images",
                    "subjects",
                    "Images or subjects parameter must provide one",
                    "give either subjects or images, not both",
                    "008017002",
                ),
                When(
                    {"audio": True},
                    {"off_peak": (False,)},
                    "off_peak",
                    "audio=true does not support off-peak mode: drop one of the two",
                ),
            ),
            images=IMAGES,
            evidence="page",
            source="https://doc.vtrix.ai/docs/api/vidu/viduq2-pro-fast-reference2video",
            read_on="2026-11-29",
        )
    },
    "The vidu API lists no such model for reference2video.",
)


def _at_gateway(slug: str, seconds: Parameter, ratio: Parameter, **more: Parameter) -> Offer:
    return Offer(
        model=slug,
        parameters={
            "subjects": SUBJECTS,
            "prompt": p.prompt(2000),
            "audio": p.AUDIO_OFF,
            "duration": seconds,
            "seed": p.SEED,
            "aspect_ratio": ratio,
            **more,
        },
        images=IMAGES,
        evidence="core of page",
        unseen=("callback_url",),
        source=f"https://doc.vtrix.ai/docs/api/vidu/{slug.replace('_', '-')}",
        read_on="2026-11-29",
    )


def _at_vidu(
    model: str, seconds: Parameter, resolution: Parameter, *, audio: Parameter, ratio: Parameter = p.SQUARE_RATIOS
) -> Offer:
    silent = audio is p.AUDIO_OFF
    return Offer(
        model=model,
        path="reference2video",
        cancel=True,
        parameters={
            "subjects": SUBJECTS,
            "auto_subjects": p.FALSE,
            "prompt": p.prompt(5000),
            "audio": audio,
            "audio_type": p.AUDIO_TYPE,
            "duration": seconds,
            "seed": p.SEED,
            "aspect_ratio": ratio,
            "resolution": resolution,
            "movement_amplitude": p.MOVEMENT,
            **p.TAIL,
        },
        rules=(
            When({"audio_type": GIVEN}, {"audio": (True,)}, "audio_type", "audio_type needs audio=true"),
            p.OFF_PEAK_SILENT if silent else p.OFF_PEAK_WITH_SOUND,
        ),
        images=IMAGES,
        evidence="copy of page",
        source=p.COPY[0],
        read_on=p.COPY[1],
    )


MODELS = (
    SEED_MODEL,
    Model(
        "viduq2_reference2video",
        "reference2video",
        {
            "gateway": _at_gateway(
                "viduq2_reference2video",
                p.seconds(1, 10),
                p.ANY_RATIO,
                resolution=Parameter(type="text", choices=("540p", "720p", "1080p")),
            ),
            "vidu": _at_vidu("viduq2", p.seconds(1, 10), p.SD, audio=p.AUDIO_OFF, ratio=p.ANY_RATIO),
        },
    ),
    Model(
        "viduq1_reference2video",
        "reference2video",
        {"vidu": _at_vidu("viduq1", p.FIVE_SECONDS, p.FULL_HD, audio=p.AUDIO_OFF)},
    ),
    Model(
        "viduq3_reference2video",
        "reference2video",
        {"vidu": _at_vidu("viduq3", p.seconds(3, 16), p.SD, audio=p.AUDIO_ON)},
    ),
    Model(
        "viduq3_turbo_reference2video",
        "reference2video",
        {"vidu": _at_vidu("viduq3-turbo", p.seconds(3, 16), p.SD, audio=p.AUDIO_ON)},
    ),
)
