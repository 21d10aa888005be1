from collections.abc import Sequence

from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.video_proof import VideoFacts, VideoProof

__all__ = ["prove", "refusal"]


def prove(data: bytes, block: int = 1 << 20, cuts: Sequence[int] = ()) -> VideoFacts:
    """The facts of a file that arrives in blocks of this size, or cut at these places."""
    proof = VideoProof()
    places = cuts or range(block, len(data), block)
    for start, end in zip((0, *places), (*places, len(data)), strict=True):
        proof.feed(data[start:end])
    return proof.finish()


def refusal(data: bytes, block: int = 1 << 20) -> str | None:
    """The code with which a file is refused; None if it is accepted."""
    try:
        prove(data, block)
    except BadSourceError as error:
        return error.code
    return None
