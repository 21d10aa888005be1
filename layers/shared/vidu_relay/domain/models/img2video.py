"""Videos that begin with an image."""

from vidu_relay.domain.catalogue import Model, Offer, Parameter, When
from vidu_relay.domain.models import parameters as p

__all__ = ["MODELS"]


def _at_vidu(
    model: str, seconds: Parameter, resolution: Parameter, *, audio: Parameter, rules: tuple[When, ...] = ()
) -> Offer:
    return Offer(
        model=model,
        path="img2video",
        cancel=True,
        parameters={
            "images": p.frames(1),
            "prompt": p.prompt(5000, required=False),
            "audio": audio,
            **p.VOICE,
            "is_rec": p.RECOMMENDED,
            "bgm": p.BGM,
            "duration": seconds,
            "seed": p.SEED,
            "resolution": resolution,
            "movement_amplitude": p.MOVEMENT,
            **p.TAIL,
        },
        rules=(
            *rules,
            *p.VOICE_NEEDS_AUDIO,
            p.OFF_PEAK_SILENT if audio is p.AUDIO_OFF else p.OFF_PEAK_WITH_SOUND,
        ),
        evidence="copy of page",
        source=p.COPY[0],
        read_on=p.COPY[1],
    )


def _model(model_id: str, offer: Offer) -> Model:
    return Model(model_id, "img2video", {"vidu": offer})


MODELS = (
    Model(
        "vidu20_img2video",
        "img2video",
        {
            "gateway": Offer(
                model="vidu20_img2video",
                parameters={
                    "images": p.frames(1),
                    "prompt": p.prompt(2000, required=False),
                    "duration": p.FOUR_OR_EIGHT,
                    "resolution": p.BY_DURATION,
                    "seed": p.SEED,
                    "movement_amplitude": p.MOVEMENT,
                    "payload": p.PAYLOAD,
                    "audio": Parameter(type="boolean"),
                },
                rules=(p.EIGHT_IS_720P,),
                evidence="core of page",
                unseen=("callback_url",),
                source="https://doc.vtrix.ai/docs/api/vidu/vidu20-img2video",
                read_on="2026-11-29",
            ),
            "vidu": _at_vidu("vidu2.0", p.FOUR_OR_EIGHT, p.BY_DURATION, audio=p.AUDIO_OFF, rules=(p.EIGHT_IS_720P,)),
        },
    ),
    _model("viduq1_img2video", _at_vidu("viduq1", p.FIVE_SECONDS, p.FULL_HD, audio=p.AUDIO_OFF)),
    _model("viduq2_turbo_img2video", _at_vidu("viduq2-turbo", p.seconds(1, 10), p.SD, audio=p.AUDIO_OFF)),
    _model("viduq2_pro_img2video", _at_vidu("viduq2-pro", p.seconds(1, 10), p.SD, audio=p.AUDIO_OFF)),
    _model("viduq2_pro_fast_img2video", _at_vidu("viduq2-pro-fast", p.seconds(1, 10), p.HD, audio=p.AUDIO_OFF)),
    _model("viduq3_pro_img2video", _at_vidu("viduq3-pro", p.seconds(1, 16), p.SD, audio=p.AUDIO_ON)),
    _model("viduq3_turbo_img2video", _at_vidu("viduq3-turbo", p.seconds(1, 16), p.SD, audio=p.AUDIO_ON)),
    _model("viduq3_pro_fast_img2video", _at_vidu("viduq3-pro-fast", p.seconds(1, 16), p.HD, audio=p.AUDIO_ON)),
)
