"""Text in a picture: a font of 5 by 8 dots for the 95 printable characters of ASCII, drawn in rows of brightness."""

import base64
import functools
from dataclasses import dataclass

ROWS, COLUMNS = 8, 6
"""Dots of a character, the gap behind it included."""
DARK, BRIGHT = b"\x10", b"\xeb"
FONT = base64.b85decode(
    b"000000001A0000700#gRe-wWdBr1O@5+f4`WMVc+Rv=IS2nPcI030Gg002QE8~`dDe;g_Z2tEi10Dy2X00;;O2nYZGU|;|s5C{YUK2b?UJ^("
    b"_0Kmc+{Nl8W_K}k(B7!(qJ5GO@NML9f5Nl7t5ArT1&Hc3fIHbzNFDINd-"
    b"6aWAKKr{dV00<N!K@=1e6chkKA`}P$0a*zKK0#esPJ9v(5`2G2Nl7+7K|w(xe?dV(K7UC`NkM-J2?+r{K|xV-"
    b"e+UQ&e*i&$K>#2?K|cY12oxege?UM$Kz{-p0)Kx52oQfhK|w)2e+dZ*20lSiAzpt887W34Nl8gE0|9>l13y4OKtCTKKp-"
    b"DKKsZ1@V-yG!V*><u1Os7NNlille?dV(0t5&UAOJx@L4O1S0RjX-KtMo100RdI03cLUctC$BL_|0^L_|a=I7CD!e>hZBR2TpVehC5?q@<j9e"
    b"+UEwcmPCwKmZ^>Ks^9|5GX_d06~910DJ^^1bBQ11O#|EL_|b5{1_x87#JiZ82o$)1Oy03R8&+X1Oz`sBs@SsAbcDkKp-"
    b"4EKrlc&L?{p_L`;y7kbFdBR7^ww2sS|g004IY002QY2mk^B0t5m"
)
"""Five bytes a character, from the space on: a column each, its lowest bit the top."""


@dataclass(frozen=True)
class Line:
    """One line of text: its left upper corner and the side of a dot, in pixels. Not ASCII is shown as `?`."""

    text: str
    left: int
    top: int
    dot: int

    def draw(self, rows: bytearray, line_size: int) -> None:
        """Draw it, bright on dark, into rows of `line_size` bytes. It must fit."""
        for y in range(ROWS * self.dot):
            row, at = _row(self.text, y // self.dot, self.dot), (self.top + y) * line_size + self.left
            rows[at : at + len(row)] = row


@functools.lru_cache(maxsize=256)
def _row(text: str, number: int, dot: int) -> bytes:
    glyphs = (FONT[5 * (code - 32) :][:5] for code in text.encode("ascii", "replace"))
    return b"".join((BRIGHT if column >> number & 1 else DARK) * dot for glyph in glyphs for column in (*glyph, 0))
