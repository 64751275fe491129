"""Shift images in HSV on a CPU, compiled, with the bits of `bart.transforms.color_space`, forward and backward.

A part of an image is computed at a time, line by line. Gradients are added in the order of autograd.
"""

from typing import Any

import numpy as np

from bart.cpu_kernels.base import Image
from bart.cpu_kernels.compiling import compiled, part

CHUNK = 1024
"""Pixels that are computed together."""
GREY = np.float32(1e-6)
"""As in `bart.transforms.color`."""
ZERO, HALF, ONE, TWO, THREE, FOUR, SIX = (np.float32(number) for number in (0, 0.5, 1, 2, 3, 4, 6))


@compiled
def hsv(offset: Image, x: Image, out: Image) -> None:
    """Convert an image (3, pixels) float32, add the offsets (3,), clip and convert back."""
    lines = np.empty((5, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        value, hue, saturation, lift = lines[0], lines[3], lines[4], offset[2]
        _shifted(offset, x[0, start:end], x[1, start:end], x[2, start:end], lines)
        for c in range(3):
            target = out[c, start:end]
            for i in range(len(target)):
                pale = ONE - _clip(_ramp(_clip(hue[i]) * SIX, c))
                target[i] = _clip(value[i] + lift) * (ONE - _clip(saturation[i]) * pale)


@compiled
def hsv_backward(offset: Image, x: Image, gradient: Image, out: Image) -> None:
    """Write the gradient of the image from that of the output, (3, pixels) both."""
    lines = np.empty((9, CHUNK), np.float32)
    for start in range(0, x.shape[1], CHUNK):
        end = min(start + CHUNK, x.shape[1])
        red, green, blue = x[0, start:end], x[1, start:end], x[2, start:end]
        _shifted(offset, red, green, blue, lines)
        _to_hsv(offset[2], gradient[0, start:end], gradient[1, start:end], gradient[2, start:end], lines)
        _to_rgb(red, green, blue, lines, out[0, start:end], out[1, start:end], out[2, start:end])


@part
def _clip(value: Any) -> Any:
    """Clip to [0, 1]."""
    return ZERO if value < ZERO else ONE if value > ONE else value


@part
def _ramp(hue: Any, channel: int) -> Any:
    """Return a channel of the pure colour with a hue in 0..6, before it is clipped."""
    if channel == 0:
        return abs(hue - THREE) - ONE
    return TWO - abs(hue - (TWO if channel == 1 else FOUR))


@part
def _inside(value: Any) -> Any:
    """Return 1 where clipping changes nothing, else 0."""
    return np.float32(value >= ZERO and value <= ONE)


@part
def _shifted(offset: Image, red: Image, green: Image, blue: Image, lines: Image) -> None:
    """Write value, chroma, the fraction of the sector's angle, and hue and saturation, shifted and not yet clipped."""
    n, turn, gain = len(red), offset[0], offset[1]
    value, chroma, slope, hue, saturation = lines[0, :n], lines[1, :n], lines[2, :n], lines[3], lines[4]
    for i in range(len(value)):
        value[i] = max(max(red[i], green[i]), blue[i])
    for i in range(len(value)):
        chroma[i] = value[i] - min(min(red[i], green[i]), blue[i])
    for i in range(len(value)):
        warm = blue[i] - red[i] if green[i] == value[i] else green[i] - blue[i]
        step = red[i] - green[i] if blue[i] == value[i] else warm
        slope[i] = step / (chroma[i] if chroma[i] > GREY else ONE)
    for i in range(len(value)):
        warm = TWO + slope[i] if green[i] == value[i] else slope[i] + SIX if slope[i] < ZERO else slope[i]
        sector = FOUR + slope[i] if blue[i] == value[i] else warm
        hue[i] = (sector / SIX if chroma[i] > GREY else ZERO) + turn
    for i in range(len(value)):
        saturation[i] = (chroma[i] / max(value[i], GREY) if chroma[i] > GREY else ZERO) + gain


@part
def _to_hsv(shift: float, red: Image, green: Image, blue: Image, lines: Image) -> None:
    """Write the gradients of hue, saturation and value before the shift, lines 6 to 8, from those of the RGB after it."""
    value, hue, saturation = lines[0], lines[3], lines[4]
    turn, gain, lift = lines[6, : len(red)], lines[7, : len(red)], lines[8, : len(red)]
    for i in range(len(lift)):
        angle, strength = _clip(hue[i]) * SIX, _clip(saturation[i])
        own = red[i] * (ONE - strength * (ONE - _clip(_ramp(angle, 0))))
        own = own + green[i] * (ONE - strength * (ONE - _clip(_ramp(angle, 1))))
        own = own + blue[i] * (ONE - strength * (ONE - _clip(_ramp(angle, 2))))
        lift[i] = own * _inside(value[i] + shift)
    for i in range(len(gain)):
        angle, light = _clip(hue[i]) * SIX, _clip(value[i] + shift)
        own = -(red[i] * light) * (ONE - _clip(_ramp(angle, 0)))
        own = own - green[i] * light * (ONE - _clip(_ramp(angle, 1)))
        own = own - blue[i] * light * (ONE - _clip(_ramp(angle, 2)))
        gain[i] = own * _inside(saturation[i])
    for i in range(len(turn)):
        angle, light, strength = _clip(hue[i]) * SIX, _clip(value[i] + shift), _clip(saturation[i])
        own = -(blue[i] * light * strength * _inside(_ramp(angle, 2)) * _sign(angle - FOUR))
        own = own - green[i] * light * strength * _inside(_ramp(angle, 1)) * _sign(angle - TWO)
        own = own + red[i] * light * strength * _inside(_ramp(angle, 0)) * _sign(angle - THREE)
        turn[i] = own * SIX * _inside(hue[i])


@part
def _sign(value: Any) -> Any:
    """Return -1, 0 or 1."""
    return np.float32(value > ZERO) - np.float32(value < ZERO)


@part
def _to_rgb(red: Image, green: Image, blue: Image, lines: Image, to_red: Image, to_green: Image, to_blue: Image) -> None:
    """Write the gradient of RGB from those of hue, saturation and value, lines 6 to 8."""
    n = len(red)
    value, chroma, slope, hue, saturation, own = lines[0], lines[1], lines[2], lines[6], lines[7], lines[8]
    step, depth, height = lines[3, :n], lines[4, :n], lines[5, :n]
    for i in range(len(step)):  # of the fraction
        step[i] = hue[i] / SIX / chroma[i] if chroma[i] > GREY else ZERO
    for i in range(len(depth)):  # of the chroma
        angle = -(hue[i] / SIX) * (slope[i] / chroma[i])
        depth[i] = saturation[i] / max(value[i], GREY) + angle if chroma[i] > GREY else ZERO
    for i in range(len(height)):  # of the value
        least = max(value[i], GREY)
        pale = -saturation[i] * (chroma[i] / least / least)
        height[i] = own[i] + (pale if chroma[i] > GREY and value[i] >= GREY else ZERO) + depth[i]
    for i in range(len(to_red)):
        turn = step[i] if blue[i] == value[i] else -step[i] if green[i] == value[i] else ZERO
        low = depth[i] * _share(min(red[i], green[i]), blue[i]) * _share(red[i], green[i])
        high = height[i] * _share(blue[i], max(red[i], green[i])) * _share(green[i], red[i])
        to_red[i] = turn - low + high
    for i in range(len(to_green)):
        turn = -step[i] if blue[i] == value[i] else ZERO if green[i] == value[i] else step[i]
        low = depth[i] * _share(min(red[i], green[i]), blue[i]) * _share(green[i], red[i])
        high = height[i] * _share(blue[i], max(red[i], green[i])) * _share(red[i], green[i])
        to_green[i] = turn - low + high
    for i in range(len(to_blue)):
        turn = ZERO if blue[i] == value[i] else step[i] if green[i] == value[i] else -step[i]
        low = depth[i] * _share(blue[i], min(red[i], green[i]))
        to_blue[i] = turn - low + height[i] * _share(max(red[i], green[i]), blue[i])


@part
def _share(one: Any, other: Any) -> Any:
    """Return the derivative of min(one, other) in `one`: half of two equals, as in PyTorch."""
    return ONE if one < other else HALF if one == other else ZERO
