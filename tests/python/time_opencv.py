"""Times what OpenCV needs to turn a 1080p frame of a camera into a letterboxed RGB square of 640 pixels, on one thread.

Prints the median microseconds for NV12 and YUYV as JSON: color first, then resize, which is how it is commonly done.
"""

import json
import statistics
import sys
import time

import cv2
import numpy

SIDE = 640
WIDTH, HEIGHT = 1920, 1080


def letterbox(frame, code, out):
    rgb = cv2.cvtColor(frame, code)
    height = round(HEIGHT * SIDE / WIDTH)
    top = (SIDE - height) // 2
    out[:top] = 114
    out[top + height :] = 114
    cv2.resize(rgb, (SIDE, height), dst=out[top : top + height], interpolation=cv2.INTER_LINEAR)


def median_us(rounds, frame, code):
    out = numpy.empty((SIDE, SIDE, 3), numpy.uint8)
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        letterbox(frame, code, out)
        times.append(time.perf_counter() - begun)
    return round(statistics.median(times) * 1e6)


def main():
    rounds = int(sys.argv[1])
    cv2.setNumThreads(1)
    random = numpy.random.default_rng(0)
    nv12 = random.integers(0, 256, (HEIGHT * 3 // 2, WIDTH), numpy.uint8)
    yuyv = random.integers(0, 256, (HEIGHT, WIDTH, 2), numpy.uint8)
    print(
        json.dumps(
            {
                "version": cv2.__version__,
                "nv12_us": median_us(rounds, nv12, cv2.COLOR_YUV2RGB_NV12),
                "yuyv_us": median_us(rounds, yuyv, cv2.COLOR_YUV2RGB_YUYV),
            }
        )
    )


main()
