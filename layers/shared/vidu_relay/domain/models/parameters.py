"""Parameters and rules that several models share. A model that differs says so in its own entry."""

from vidu_relay.domain.catalogue import GIVEN, Parameter, When

__all__ = [
    "ANY_RATIO",
    "AUDIO_OFF",
    "AUDIO_ON",
    "AUDIO_TYPE",
    "BGM",
    "BY_DURATION",
    "COPY",
    "EIGHT_IS_720P",
    "FALSE",
    "FIVE_SECONDS",
    "FOUR_OR_EIGHT",
    "FULL_HD",
    "HD",
    "MOVEMENT",
    "OFF_PEAK_SILENT",
    "OFF_PEAK_WITH_SOUND",
    "PAYLOAD",
    "RATIOS",
    "RECOMMENDED",
    "SD",
    "SEED",
    "SQUARE_RATIOS",
    "STYLE",
    "TAIL",
    "VOICE",
    "VOICE_NEEDS_AUDIO",
    "frames",
    "prompt",
    "seconds",
]

HD = Parameter(type="text", default="720p", choices=("720p", "1080p"))
SD = Parameter(type="text", default="720p", choices=("540p", "720p", "1080p"))
FULL_HD = Parameter(type="text", default="1080p", choices=("1080p",))
FOUR_OR_EIGHT = Parameter(type="integer", default=4, choices=(4, 8), about="seconds")
BY_DURATION = Parameter(type="text", choices=("360p", "720p", "1080p"), about="of 4 seconds; 8 seconds have 720p only")
EIGHT_IS_720P = When({"duration": 8}, {"resolution": ("720p",)}, "resolution", "duration 8 has resolution 720p only")
FIVE_SECONDS = Parameter(type="integer", default=5, choices=(5,))
BGM = Parameter(type="boolean", default=False, about="background music")
FALSE = Parameter(type="boolean", default=False)
AUDIO_OFF = Parameter(type="boolean", default=False, about="sound and speech, generated with the picture")
AUDIO_ON = Parameter(type="boolean", default=True, about="sound and speech, generated with the picture")
SEED = Parameter(type="integer", default=0, least=-(2**63), most=2**63 - 1, about="0: at random")
RECOMMENDED = Parameter(type="boolean", default=False, about="the provider writes the prompt; costs more")
STYLE = Parameter(type="text", default="general", choices=("general", "anime"), about="how it is drawn")
MOVEMENT = Parameter(type="text", default="auto", choices=("auto", "small", "medium", "large"), about="how much moves")
RATIOS = Parameter(type="text", default="16:9", choices=("16:9", "9:16", "3:4", "4:3", "1:1"))
SQUARE_RATIOS = Parameter(type="text", default="16:9", choices=("16:9", "9:16", "1:1"))
ANY_RATIO = Parameter(type="ratio", default="16:9", about="two whole numbers with a colon")
AUDIO_TYPE = Parameter(
    type="text", default="all", choices=("all", "speech_only", "sound_effect_only"), about="which sound"
)
PAYLOAD = Parameter(type="text", most=1_048_576, about="handed back unchanged")
META_DATA = Parameter(type="json", most=65_536, about="a JSON object in a string, written into the video's metadata")

TAIL = {
    "payload": PAYLOAD,
    "off_peak": Parameter(type="boolean", default=False, about="slower and cheaper: done within 48 hours"),
    "watermark": Parameter(type="boolean", default=False, about="marks the video"),
    "wm_position": Parameter(
        type="integer", default=3, least=1, most=4, about="1 top left, 2 top right, 3 bottom right, 4 bottom left"
    ),
    "wm_url": Parameter(type="url", about="the watermark's image"),
    "meta_data": META_DATA,
}
"""What a whole page ends with."""

VOICE = {
    "audio_type": AUDIO_TYPE,
    "voice_id": Parameter(type="text", most=200, about="the voice; without one the provider's choice"),
}
OFF_PEAK_SILENT = When({"audio": True}, {"off_peak": (False,)}, "off_peak", "off-peak mode needs audio=false")
OFF_PEAK_WITH_SOUND = When({"off_peak": True}, {"audio": (True,)}, "off_peak", "off-peak mode needs audio=true")
VOICE_NEEDS_AUDIO = tuple(
    When({name: GIVEN}, {"audio": (True,)}, name, f"{name} needs audio=true") for name in ("audio_type", "voice_id")
)

COPY = ("a dated copy of platform.vidu.cn/docs at a third party", "2026-04-15")


def prompt(most: int, *, required: bool = True) -> Parameter:
    """The prompt, of so many characters at most."""
    return Parameter(type="text", required=required, least=1, most=most, about="what the video shows")


def seconds(least: int, most: int, default: int = 5) -> Parameter:
    """The length of the video."""
    return Parameter(type="integer", default=default, least=least, most=most, about="seconds")


def frames(count: int) -> Parameter:
    """Images that the video begins with, or begins and ends with."""
    about = "the first frame" if count == 1 else "the first frame and the last"
    return Parameter(type="images", required=True, least=count, most=count, about=about)
